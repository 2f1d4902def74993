import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { readLog } from './command.ts';
import { logOf, runAll, type TestContext } from './context.ts';
import { addCounts, type Counts, jestCounts, junitCounts, projectsWithSpecs } from './counts.ts';
import { jestFailures, junitFailures, lastLines } from './failures.ts';
import type { Step, StepOutcome } from './step.ts';

/** Jest in every project, by Nx. On CI nothing is taken from Nx's cache. */
export function unitStep(context: TestContext): Step {
  const name = 'unit';
  return {
    name,
    run: async () => {
      const reports = projectsWithSpecs(context.root).map((project) => join(context.root, 'reports', 'jest', `${project}.json`));
      for (const report of reports) rmSync(report, { force: true });
      const uncached = context.env['CI'] === 'true' ? ['--skip-nx-cache'] : [];
      const code = await runAll(context, name, [['nx', 'run-many', '-t', 'test', '--parallel=2', ...uncached]]);
      const fromCache = cacheHits(readLog(logOf(context, name)));
      const note = `${reports.length} projects, ${fromCache} from Nx's cache`;
      return outcomeOf(context, name, code, addCounts(reports.map((report) => jestCounts(report))), reports.flatMap(jestFailures), note);
    },
  };
}

/** How many tasks Nx did not run, as it says at the end of its output. */
export function cacheHits(output: string): number {
  return Number(/from the cache instead of running the command for (\d+) out of/.exec(output)?.[1] ?? 0);
}

/** One folder with a Jest configuration of its own. */
export function jestStep(context: TestContext, name: string, folder: string, options: readonly string[] = []): Step {
  return {
    name,
    run: async () => {
      const report = join(context.root, 'reports', 'jest', `${folder}.json`);
      rmSync(report, { force: true });
      const code = await runAll(context, name, [['node', join(context.root, 'tools', 'jest', 'run.mjs'), ...options]], join(context.root, folder));
      return outcomeOf(context, name, code, jestCounts(report), jestFailures(report));
    },
  };
}

export function pytestStep(context: TestContext): Step {
  const name = 'pytest';
  return {
    name,
    run: async () => {
      const report = join(context.root, 'reports', 'pytest.xml');
      rmSync(report, { force: true });
      const code = await runAll(context, name, [[context.python, '-m', 'pytest', '-q', `--junitxml=${report}`]], join(context.root, 'python-worker'));
      return outcomeOf(context, name, code, junitCounts(report), junitFailures(report));
    },
  };
}

/** A run that failed without a failed test, such as an unmet threshold or a crash at the end, is one failure. */
function outcomeOf(context: TestContext, name: string, code: number, counts: Counts, failed: readonly string[], note = ''): StepOutcome {
  if (code === 0 && counts.failed === 0) return { counts, note };
  const log = logOf(context, name);
  const see = `see ${relative(context.root, log)}`;
  const failures = failed.length > 0 ? failed : [lastLines(readLog(log))];
  return { counts: { passed: counts.passed, failed: Math.max(counts.failed, 1) }, note: note === '' ? see : `${note}; ${see}`, failures };
}
