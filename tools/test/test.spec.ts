import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { check, type TestContext } from './context.ts';
import { differingFiles } from './contract-steps.ts';
import { jestCounts, junitCounts, projectsWithSpecs } from './counts.ts';
import { jestFailures, junitFailures, shownFailures } from './failures.ts';
import { onlySteps, planOf } from './plan.ts';
import { runLane, type StepResult, summaryOf } from './step.ts';
import { cacheHits } from './test-steps.ts';

const folder = (): string => mkdtempSync(join(tmpdir(), 'mlx-serving-'));
const context = (): TestContext => ({ root: folder(), env: process.env, python: 'python3' });
const result = (name: string, passed: number, failed: number): StepResult => ({ name, seconds: 1, counts: { passed, failed } });

function fileWith(text: string): string {
  const file = join(folder(), 'report');
  writeFileSync(file, text);
  return file;
}

describe('the counts', () => {
  it('take a Jest file that could not run as a failure', () => {
    const report = { numPassedTests: 7, numFailedTests: 2, numFailedTestSuites: 2, numRuntimeErrorTestSuites: 1 };
    expect(jestCounts(fileWith(JSON.stringify(report)))).toEqual({ passed: 7, failed: 3 });
  });

  it('leave skipped tests of pytest out', () => {
    const report = '<?xml version="1.0"?><testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="1"></testsuite></testsuites>';
    expect(junitCounts(fileWith(report))).toEqual({ passed: 4, failed: 3 });
  });

  it('refuse a report from before', () => {
    expect(() => jestCounts(fileWith('{}'), Date.now() + 60_000)).toThrow('left over from an earlier run');
  });

  it('know which projects must have a report', () => {
    const root = folder();
    for (const path of ['apps/a/src/feature', 'apps/b/src', 'libs/c/test']) mkdirSync(join(root, path), { recursive: true });
    for (const file of ['apps/a/src/feature/x.spec.ts', 'apps/b/src/x.ts', 'libs/c/test/y.spec.ts']) writeFileSync(join(root, file), '');
    expect(projectsWithSpecs(root)).toEqual(['apps/a', 'libs/c']);
  });

  it("read from Nx's output how much came from the cache", () => {
    expect(cacheHits('Nx read the output from the cache instead of running the command for 3 out of 5 tasks.')).toBe(3);
    expect(cacheHits('Successfully ran target test for 5 projects')).toBe(0);
  });
});

describe('what failed', () => {
  it('is named with the beginning of its message, in a Jest report', () => {
    const passed = { fullName: 'a flag is on', status: 'passed', failureMessages: [] };
    const failed = { fullName: 'a kill holds', status: 'failed', failureMessages: ['Error: \u001b[31mit came back\u001b[39m'] };
    const testResults = [
      { name: 'a.spec.ts', message: 'long', assertionResults: [passed, failed] },
      { name: 'b.spec.ts', message: 'SyntaxError', assertionResults: [] },
    ];
    expect(jestFailures(fileWith(JSON.stringify({ testResults })))).toEqual(['a kill holds\n  Error: it came back', 'b.spec.ts\n  SyntaxError']);
  });

  it('is named with the end of its message, in a report of pytest', () => {
    const good = '<testcase classname="tests.test_a" name="test_good" time="0.1" />';
    const bad = '<testcase classname="tests.test_a" name="test_bad[&lt;1&gt;]" time="0.1"><failure message="x">E  1 &lt; 2&#10;test_a.py:7</failure></testcase>';
    expect(junitFailures(fileWith(`<testsuite>${good}${bad}${good}</testsuite>`))).toEqual(['tests.test_a::test_bad[<1>]\n  E  1 < 2\n  test_a.py:7']);
  });

  it('is shown within bounds', () => {
    const shown = shownFailures(Array.from({ length: 30 }, (_, at) => `test ${at}`));
    expect(shown).toContain('    test 19\n');
    expect(shown).toMatch(/… and 10 more\n$/);
    expect(shownFailures([])).toBe('');
  });

  it('of a command is the end of what it printed', async () => {
    const [only] = await runLane([check(context(), 'bad', [['sh', '-c', 'echo the reason; exit 1']])], () => {});
    expect(only?.failures).toEqual(['the reason']);
  });
});

describe('the summary', () => {
  it('ends with the plain line and is good when nothing failed', () => {
    const summary = summaryOf([result('a', 3, 0), result('b', 1, 0)]);
    expect(summary.ok).toBe(true);
    expect(summary.text).toMatch(/\n4 passed, 0 failed\n$/);
  });

  it('is bad when something failed, when a step ran no test, and when there is nothing', () => {
    expect(summaryOf([result('a', 3, 1)]).ok).toBe(false);
    expect(summaryOf([result('a', 3, 0), result('b', 0, 0)]).ok).toBe(false);
    expect(summaryOf([]).ok).toBe(false);
  });

  it('lets a step be skipped loudly', () => {
    const summary = summaryOf([result('a', 3, 0), { ...result('b', 0, 0), skipped: true, note: 'SKIPPED: no branch' }]);
    expect(summary.ok).toBe(true);
    expect(summary.text).toContain('SKIPPED: no branch');
  });
});

describe('a step', () => {
  it('passes when its commands do, and names its log when one does not', async () => {
    const at = context();
    const results = await runLane([check(at, 'good', [['true']]), check(at, 'bad', [['true'], ['false'], ['true']])], () => {});
    expect(results.map(({ counts }) => counts)).toEqual([
      { passed: 1, failed: 0 },
      { passed: 0, failed: 1 },
    ]);
    expect(results[1]?.note).toBe('see reports/logs/bad.log');
  });

  it('that throws has failed, and the next one still runs', async () => {
    const broken = { name: 'broken', run: () => Promise.reject(new Error('no report')) };
    const results = await runLane([broken, check(context(), 'good', [['true']])], () => {});
    expect(results[0]).toMatchObject({ counts: { passed: 0, failed: 1 }, note: 'no report' });
    expect(results[1]?.counts.passed).toBe(1);
  });

  it('can be chosen by name; an unknown name lists the others', () => {
    const root = folder();
    const plan = planOf({ ...context(), root });
    expect(onlySteps(plan, ['mypy', 'e2e']).flat(2).map(({ name }) => name)).toEqual(['mypy', 'e2e']);
    expect(() => onlySteps(plan, ['nothing'])).toThrow(/There is no step nothing\. There are: proto-lint, /);
  });
});

describe('the comparison of generated code', () => {
  it('names files that differ, are missing or are too many', () => {
    const [left, right] = [folder(), folder()];
    for (const [at, name, text] of [[left, 'same', '1'], [right, 'same', '1'], [left, 'changed', '1'], [right, 'changed', '2'], [left, 'new', '1'], [right, 'old', '1']] as const) {
      writeFileSync(join(at, name), text);
    }
    expect(differingFiles(left, right)).toEqual(['changed', 'new', 'old']);
  });
});
