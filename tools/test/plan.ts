import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { check, type TestContext } from './context.ts';
import { breakingStep, driftStep } from './contract-steps.ts';
import type { Step } from './step.ts';
import { jestStep, pytestStep, unitStep } from './test-steps.ts';

/** Steps of one lane run one after the other; the lanes of one stage at the same time; stages one after the other. */
export type Plan = readonly (readonly (readonly Step[])[])[];

export function planOf(context: TestContext): Plan {
  return [[typescriptLane(context), pythonLane(context)], [[endToEnd(context)]]];
}

function typescriptLane(context: TestContext): Step[] {
  return [
    check(context, 'proto-lint', [['buf', 'lint']]),
    breakingStep(context),
    driftStep(context),
    check(context, 'typecheck', [['tsc', '--noEmit', '-p', 'tsconfig.json']]),
    check(context, 'build', [['nx', 'run-many', '-t', 'build', ...(context.env['CI'] === 'true' ? ['--skip-nx-cache'] : [])]]),
    unitStep(context),
    jestStep(context, 'tools', 'tools'),
    configurationStep(context),
    ...fileChecks(context),
    check(context, 'lint', [['nx', 'show', 'projects'], ['eslint', '.', '--max-warnings', '0']]),
  ];
}

function pythonLane(context: TestContext): Step[] {
  const folder = join(context.root, 'python-worker');
  const run = (name: string, ...args: string[]): Step => check(context, name, [[context.python, ...args]], folder);
  return [
    run('ruff', '-m', 'ruff', 'check', '--config', 'pyproject.toml', '.', '../e2e/python'),
    run('ruff-format', '-m', 'ruff', 'format', '--check', '--config', 'pyproject.toml', '.', '../e2e/python'),
    run('generated-python', 'tools/generate_proto.py', '--check'),
    run('mypy', '-m', 'mypy'),
    pytestStep(context),
  ];
}

function endToEnd(context: TestContext): Step {
  return jestStep(context, 'e2e', 'e2e', ['--runInBand']);
}

function configurationStep(context: TestContext): Step {
  const validator = ['node', '--conditions=@mlx-serving/source', 'tools/validate-feature-flags.ts', 'config/feature-flags.yaml'];
  return check(context, 'configuration', [validator]);
}

/** Every `*.check.mjs` and `*.check.ts` in tools/checks is a program that exits with 0 when all is well. */
function fileChecks(context: TestContext): Step[] {
  const folder = join(context.root, 'tools', 'checks');
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).filter((name) => /\.check\.(mjs|ts)$/.test(name));
  return files.sort().map((file) => check(context, file.replace(/\.check\.\w+$/, ''), [['node', '--conditions=@mlx-serving/source', join(folder, file)]]));
}

/**
 * Leaves only the named steps.
 * @throws Error that lists the steps when a name is unknown
 */
export function onlySteps(plan: Plan, names: readonly string[]): Plan {
  const known = plan.flat(2).map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`There is no step ${unknown.join(', ')}. There are: ${known.join(', ')}`);
  return plan.map((stage) => stage.map((lane) => lane.filter(({ name }) => names.includes(name))));
}
