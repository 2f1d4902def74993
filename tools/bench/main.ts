import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine } from './machine.ts';
import { type BenchResult, lineOf, measure } from './measure.ts';
import type { BenchSuite } from './suite.ts';

const suites = new URL('./suites/', import.meta.url);

function suiteNames(): string[] {
  return readdirSync(suites)
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.spec.ts'))
    .map((name) => name.replace(/\.ts$/, ''));
}

const help = (): string => `npm run bench -- SUITE [--only PATTERN] [--pairs N] [--full] [--json FILE]: measures against a named peer, in turn.

--only measures what has the regular expression in its name; --full lets a suite that knows a longer run make it.

Suites: ${suiteNames().join(', ')}
`;

interface RunOptions {
  readonly pairs: number | undefined;
  readonly only: string;
}

/** @returns the results, and how many cases could not be measured */
async function runSuite(suite: BenchSuite, { pairs, only }: RunOptions): Promise<{ results: BenchResult[]; failed: number }> {
  const results: BenchResult[] = [];
  let failed = 0;
  try {
    await suite.setUp?.();
    for (const benchCase of suite.cases.filter(({ name }) => new RegExp(only, 'i').test(name))) {
      try {
        const result = await measure(benchCase, benchCase.pairs ?? pairs ?? suite.pairs);
        process.stdout.write(`${lineOf(result)}\n`);
        results.push(result);
      } catch (error) {
        failed++;
        process.stdout.write(`✗ ${benchCase.name}: ${(error as Error).message}\n`);
      }
    }
  } finally {
    await suite.tearDown?.();
  }
  return { results, failed };
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { only: { type: 'string' }, full: { type: 'boolean' }, pairs: { type: 'string' }, json: { type: 'string' }, help: { type: 'boolean' } } });
  const [name = ''] = positionals;
  if (values.help || !suiteNames().includes(name)) {
    process.stderr.write(`${values.help || name === '' ? '' : `There is no suite ${name}.\n`}${help()}`);
    return values.help ? 0 : 1;
  }
  const { suite } = (await import(new URL(`${name}.ts`, suites).href)) as { suite: BenchSuite };
  const pairs = values.pairs === undefined ? undefined : Number(values.pairs);
  return report(suite, { pairs, only: values.only ?? '' }, values.json);
}

/** @returns the exit code: 0 when every goal holds */
async function report(suite: BenchSuite, options: RunOptions, json: string | undefined): Promise<number> {
  const machine = describeMachine(process.env['MLX_SERVING_PYTHON'] ?? 'python3');
  process.stdout.write(`${suite.name}: ${suite.description}\n${machine.cpus}, ${machine.memory}, load ${machine.load}, ${options.pairs ?? suite.pairs} pairs; medians (quartiles)\n`);
  const { results, failed } = await runSuite(suite, options);
  if (json !== undefined) {
    mkdirSync(dirname(json), { recursive: true });
    writeFileSync(json, `${JSON.stringify({ suite: suite.name, machine, results }, null, 2)}\n`);
  }
  return failed === 0 && results.every(({ holds }) => holds) ? 0 : 1;
}

process.exitCode = await main().catch((error: Error) => {
  process.stderr.write(`${error.stack ?? error.message}\n`);
  return 1;
});
