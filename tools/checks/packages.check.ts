import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Manifest, tarballProblems } from './packages.ts';

/** Packs every package, installs the tarballs into an empty folder, imports each library and asks each command for help. */

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'mlx-serving-packages-'));

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} (in ${cwd}) ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

function publishable(): { path: string; manifest: Manifest }[] {
  const paths = ['apps', 'libs'].flatMap((group) => readdirSync(join(root, group)).map((name) => join(group, name)));
  return paths
    .map((path) => ({ path, manifest: JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8')) as Manifest }))
    .filter(({ manifest }) => manifest.private !== true);
}

function pack(path: string, manifest: Manifest): { tarball: string; problems: string[] } {
  const [answer] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder], join(root, path))) as [{ filename: string; files: { path: string }[] }];
  const problems = tarballProblems(manifest, answer.files.map((file) => file.path));
  return { tarball: join(folder, answer.filename), problems: problems.map((problem) => `${path}: ${problem}`) };
}

function use({ name, bin, exports }: Manifest, project: string): void {
  if (exports?.['.'] !== undefined) run(process.execPath, ['--input-type=module', '-e', `await import('${name}')`], project);
  for (const command of Object.keys(bin ?? {})) {
    const text = run(process.execPath, [join(project, 'node_modules', '.bin', command), '--help'], project);
    if (!text.includes(command.replace('mlx-serving-', ''))) throw new Error(`${command} --help says nothing of itself:\n${text}`);
  }
}

try {
  const packages = publishable();
  const packed = packages.map(({ path, manifest }) => pack(path, manifest));
  const problems = packed.flatMap((one) => one.problems);
  if (problems.length > 0) throw new Error(problems.join('\n'));
  const project = mkdtempSync(join(folder, 'project-'));
  writeFileSync(join(project, 'package.json'), '{"name":"project","version":"1.0.0","private":true,"type":"module"}');
  run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...packed.map(({ tarball }) => tarball)], project);
  for (const { manifest } of packages) use(manifest, project);
  console.log(`${packages.length} packages can be packed, installed and used`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
