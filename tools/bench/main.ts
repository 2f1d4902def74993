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

const help = (): string => `npm run bench -- SUITE [--pairs N] [--json FILE]: measures against a named peer, in turn.

Suites: ${suiteNames().join(', ')}
`;

async function runSuite(suite: BenchSuite, pairs: number): Promise<BenchResult[]> {
  const results: BenchResult[] = [];
  await suite.setUp?.();
  try {
    for (const benchCase of suite.cases) {
      const result = await measure(benchCase, pairs);
      process.stdout.write(`${lineOf(result)}\n`);
      results.push(result);
    }
  } finally {
    await suite.tearDown?.();
  }
  return results;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { pairs: { type: 'string' }, json: { type: 'string' }, help: { type: 'boolean' } } });
  const [name = ''] = positionals;
  if (values.help || !suiteNames().includes(name)) {
    process.stderr.write(`${values.help || name === '' ? '' : `There is no suite ${name}.\n`}${help()}`);
    return values.help ? 0 : 1;
  }
  const { suite } = (await import(new URL(`${name}.ts`, suites).href)) as { suite: BenchSuite };
  const machine = describeMachine(process.env['MLX_SERVING_PYTHON'] ?? 'python3');
  const pairs = Number(values.pairs ?? suite.pairs);
  process.stdout.write(`${suite.name}: ${suite.description}\n${machine.cpus}, ${machine.memory}, load ${machine.load}, ${pairs} pairs; medians (quartiles)\n`);
  const results = await runSuite(suite, pairs);
  if (values.json !== undefined) {
    mkdirSync(dirname(values.json), { recursive: true });
    writeFileSync(values.json, `${JSON.stringify({ suite: suite.name, machine, results }, null, 2)}\n`);
  }
  return results.every(({ holds }) => holds) ? 0 : 1;
}

process.exitCode = await main().catch((error: Error) => {
  process.stderr.write(`${error.stack ?? error.message}\n`);
  return 1;
});
