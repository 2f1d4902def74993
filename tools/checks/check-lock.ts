/** The machines that a lock must serve, as they stand in the names of native packages. */
const PLATFORMS = ['linux-x64', 'darwin-arm64'] as const;

interface LockEntry {
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

export interface NodeLock {
  readonly packages: Readonly<Record<string, LockEntry>>;
}

/**
 * What is wrong with a package-lock.json: a native package that npm left out without a word, since the registry did not
 * have it when the lock was made; a registry's address; a package without a hash.
 */
export function nodeLockProblems(lock: NodeLock): string[] {
  return [...missingNativePackages(lock), ...addresses(lock), ...withoutHash(lock)];
}

/** Native packages that others declare as optional must themselves be in the lock, for both machines or for none. */
function missingNativePackages({ packages }: NodeLock): string[] {
  const present = new Set(Object.keys(packages).map(packageName));
  const declared = Object.entries(packages).flatMap(([path, entry]) => Object.keys(entry.optionalDependencies ?? {}).map((name) => ({ by: path === '' ? 'package.json' : packageName(path), name })));
  const absent = declared.filter(({ name }) => PLATFORMS.some((platform) => name.includes(platform)) && !present.has(name)).map(({ by, name }) => `${by}: ${name} is not in the lock`);
  const lonely = nativeFamilies([...present]).flatMap(({ family, platforms }) =>
    PLATFORMS.filter((platform) => !platforms.has(platform)).map((platform) => `${family} is in the lock, but not for ${platform}`),
  );
  return [...absent, ...lonely];
}

/** Packages that differ only in the machine in their name. The C library after it does not matter. */
function nativeFamilies(names: readonly string[]): { family: string; platforms: Set<string> }[] {
  const families = new Map<string, Set<string>>();
  for (const name of names) {
    const platform = PLATFORMS.find((candidate) => name.includes(candidate));
    if (platform === undefined) continue;
    // npm's node packages have `bin` in the names of some machines only.
    const family = name.slice(0, name.indexOf(platform)).replace(/^node-bin-$/, 'node-') + '*';
    families.set(family, (families.get(family) ?? new Set()).add(platform));
  }
  return [...families].map(([family, platforms]) => ({ family, platforms }));
}

function addresses({ packages }: NodeLock): string[] {
  const found = Object.entries(packages).filter(([, { resolved }]) => /^(git\+)?(https?|ssh):/.test(resolved ?? ''));
  return found.map(([path]) => `${packageName(path)}: an address is in the lock`);
}

function withoutHash({ packages }: NodeLock): string[] {
  const found = Object.entries(packages).filter(([path, { integrity, link }]) => path.includes('node_modules/') && !integrity && !link);
  return found.map(([path]) => `${packageName(path)}: no hash is in the lock`);
}

function packageName(path: string): string {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
}

/** What is wrong with a Python lock: a requirement that is not pinned or not hashed, or a registry's address. */
export function pythonLockProblems(text: string): string[] {
  const lines = text.replaceAll(/\\\n\s*/g, ' ').split('\n');
  const requirements = lines.filter((line) => line.trim() !== '' && !/^\s*#/.test(line));
  return requirements.flatMap((line) => {
    const name = line.split(/[\s=<>~!;]/, 1)[0] ?? line;
    if (line.startsWith('-') || line.includes('://')) return [`${name}: an address or an option is in the lock`];
    if (!/^[\w.-]+(\[[\w,-]+\])?==\S/.test(line)) return [`${name}: the version is not pinned`];
    return line.includes('--hash=sha256:') ? [] : [`${name}: no hash is in the lock`];
  });
}
