/** What the checks read of a package.json. */
export interface Manifest {
  readonly name: string;
  readonly private?: boolean;
  readonly bin?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
}

/** Conditions that only this workspace sets, so their files need not be in a tarball. */
const WORKSPACE_CONDITION = '@mlx-serving/source';

/** What is wrong with the files of a tarball. */
export function tarballProblems(manifest: Manifest, files: readonly string[]): string[] {
  const missing = [...new Set(['package.json', 'README.md', ...targetsOf(manifest)])].filter((file) => !files.includes(file));
  const unwanted = files.filter((file) => file.startsWith('src/') || /\.spec\.(js|d\.ts)$/.test(file));
  const main = manifest.exports?.['.'];
  return [
    ...missing.map((file) => `${file} is not in the tarball`),
    ...unwanted.map((file) => `${file} does not belong into the tarball`),
    ...(typeof main === 'object' && main['types'] !== undefined ? [] : ['exports has no types']),
  ];
}

/** Files that users reach by the package's name or as a command. A pattern is not followed. */
function targetsOf({ exports = {}, bin = {} }: Manifest): string[] {
  const exported = Object.values(exports).flatMap((target) =>
    typeof target === 'string' ? [target] : Object.entries(target).flatMap(([condition, file]) => (condition === WORKSPACE_CONDITION ? [] : [file])),
  );
  return [...new Set([...exported, ...Object.values(bin)])].filter((file) => !file.includes('*')).map((file) => file.replace(/^\.\//, ''));
}
