import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { shownFailures } from './failures.ts';
import { onlySteps, type Plan, planOf } from './plan.ts';
import { lineOf, runLane, type StepResult, summaryOf } from './step.ts';

const help = (names: readonly string[]): string => `npm test: every test and check; exit code 1 when one fails.

Options (after --):
  --only STEP[,STEP]   only these steps
  --help               this text

Steps: ${names.join(', ')}
Logs and reports are in reports/. With CI=true nothing is taken from Nx's cache.
`;

async function runPlan(plan: Plan): Promise<StepResult[]> {
  const results: StepResult[] = [];
  const tell = (result: StepResult): boolean => process.stderr.write(`${lineOf(result)}\n${shownFailures(result.failures ?? [])}`);
  for (const stage of plan) results.push(...(await Promise.all(stage.map((lane) => runLane(lane, tell)))).flat());
  return results;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string' }, help: { type: 'boolean', default: false } } });
  const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
  const env = { ...process.env, NX_DAEMON: 'false', NX_TUI: 'false', FORCE_COLOR: '0' };
  const plan = planOf({ root, env, python: process.env['MLX_SERVING_PYTHON'] ?? 'python3' });
  if (values.help) {
    process.stdout.write(help(plan.flat(2).map(({ name }) => name)));
    return 0;
  }
  const summary = summaryOf(await runPlan(values.only === undefined ? plan : onlySteps(plan, values.only.split(','))));
  process.stdout.write(summary.text);
  return summary.ok ? 0 : 1;
}

process.exitCode = await main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  return 1;
});
