import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** How many tests passed and failed. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

interface JestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numFailedTestSuites: number;
  readonly numRuntimeErrorTestSuites: number;
}

/**
 * The counts of one Jest report. A file that could not run counts as one failure.
 * @throws Error when the report is missing, or older than `since` (Unix time in milliseconds)
 */
export function jestCounts(file: string, since = 0): Counts {
  if (statSync(file).mtimeMs < since) throw new Error(`${file} is left over from an earlier run.`);
  const report = JSON.parse(readFileSync(file, 'utf8')) as JestReport;
  return { passed: report.numPassedTests, failed: report.numFailedTests + report.numRuntimeErrorTestSuites };
}

/** The counts of a JUnit report as pytest writes it. Errors count as failures, skipped tests do not count. */
export function junitCounts(file: string): Counts {
  const suite = /<testsuite [^>]*>/.exec(readFileSync(file, 'utf8'))?.[0] ?? '';
  const number = (name: string): number => Number(new RegExp(` ${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = number('failures') + number('errors');
  return { passed: number('tests') - failed - number('skipped'), failed };
}

export function addCounts(all: readonly Counts[]): Counts {
  return { passed: sum(all.map(({ passed }) => passed)), failed: sum(all.map(({ failed }) => failed)) };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** Folders of apps/ and libs/ that have specs: each must leave a report. */
export function projectsWithSpecs(root: string): string[] {
  const projects = ['apps', 'libs'].flatMap((group) => readdirSync(join(root, group)).map((name) => join(group, name)));
  return projects.filter((project) => hasSpecs(join(root, project)));
}

function hasSpecs(folder: string): boolean {
  return ['src', 'test'].some((part) => {
    try {
      return readdirSync(join(folder, part), { recursive: true }).some((file) => /\.spec\.tsx?$/.test(String(file)));
    } catch {
      return false;
    }
  });
}
