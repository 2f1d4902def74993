import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runAll, type TestContext, verdict } from './context.ts';
import type { Step, StepOutcome } from './step.ts';

const MAIN_REFS = ['refs/heads/main', 'refs/remotes/origin/main'];

/** The contracts of this checkout must understand what main's write; on main itself, what they wrote one commit before. */
export function breakingStep(context: TestContext): Step {
  const name = 'proto-breaking';
  return {
    name,
    run: () =>
      inTemporaryFolder(async (folder): Promise<StepOutcome> => {
        const ref = earlier(context.root);
        if (ref === undefined) return skip('SKIPPED: there is no other commit of main here to compare with');
        const archive = join(folder, 'main.tar');
        if (git(context.root, ['archive', '--output', archive, ref, 'proto', 'buf.yaml']).status !== 0) return skip(`SKIPPED: ${ref} has no contracts`);
        const code = await runAll(context, name, [
          ['tar', '-xf', archive, '-C', folder],
          ['buf', 'breaking', '--against', folder],
        ]);
        return verdict(context, name, code === 0);
      }),
  };
}

/** Generated TypeScript must be what the contracts give. */
export function driftStep(context: TestContext): Step {
  const name = 'generated-code';
  return {
    name,
    run: () =>
      inTemporaryFolder(async (folder): Promise<StepOutcome> => {
        const code = await runAll(context, name, [['buf', 'generate', '--output', folder]]);
        if (code !== 0) return verdict(context, name, false);
        const generated = join('libs', 'contracts', 'src', 'gen');
        const different = differingFiles(join(folder, generated), join(context.root, generated));
        if (different.length === 0) return verdict(context, name, true);
        return { counts: { passed: 0, failed: 1 }, note: `run npm run generate: ${different.join(', ')} differ` };
      }),
  };
}

/** What to compare with: main where it is another commit than this, else the commit before. */
function earlier(root: string): string | undefined {
  const commitOf = (ref: string): string => git(root, ['rev-parse', '--verify', '--quiet', `${ref}^{commit}`]).stdout.trim();
  const here = commitOf('HEAD');
  return [...MAIN_REFS, 'HEAD^'].find((ref) => ![here, ''].includes(commitOf(ref)));
}

/** Names of files that are in only one of two folders, or differ. */
export function differingFiles(left: string, right: string): string[] {
  const names = new Set([...filesOf(left), ...filesOf(right)]);
  return [...names].filter((name) => read(join(left, name)) !== read(join(right, name))).sort();
}

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => statSync(join(folder, name)).isFile());
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function skip(note: string): StepOutcome {
  return { counts: { passed: 0, failed: 0 }, note, skipped: true };
}

function git(cwd: string, args: readonly string[]) {
  return spawnSync('git', args, { cwd, encoding: 'utf8' });
}

async function inTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'mlx-serving-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
