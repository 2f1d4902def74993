#!/usr/bin/env node
import { readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
// By path and not by package name, so that it runs under plain node and tsx, without a build; and not by an index, which may need other packages.
import { checkFeatureFlagsFile, type FeatureFlagsFile, featureFlagsFile } from '../libs/policy/src/feature-flags-file.ts';
import { flagName } from '../libs/policy/src/flag-config.ts';
import { ConfigError, type ConfigIssue } from '../libs/service-kit/src/config/config-error.ts';
import { type CrossCheck, parseYaml } from '../libs/service-kit/src/config/parse-yaml.ts';

const USAGE = `Checks a feature flags file, and shows everything that is wrong with it as FILE:LINE:COLUMN.

Usage: node tools/validate-feature-flags.ts FILE

Exit codes: 0 the file is valid, 1 it is not, 2 it was called wrongly.
`;

const VALID = ['Configuration valid', 'All rollout percentages in range [0, 100]', 'All hash seeds present', 'No circular dependencies'];

/**
 * Everything that is wrong with a feature flags file (SPEC F15), in the order of the file.
 * @param file the name that the problems are shown with
 * @returns nothing for a valid file
 */
export function featureFlagsProblems(file: string, text: string): readonly ConfigIssue[] {
  const issues = issuesOf(file, text, featureFlagsFile);
  // What concerns several flags can only be seen in a file that fits the schema, so what does not fit is patched over.
  const more = issues.length > 0 ? issuesOf(file, text, z.preprocess((value) => patched(value, issues), featureFlagsFile)) : [];
  const unique = new Map([...issues, ...more].map((issue) => [`${issue.line}:${issue.column} ${issue.path} ${issue.message}`, issue]));
  return [...unique.values()].sort((a, b) => a.line - b.line || a.column - b.column);
}

function issuesOf(file: string, text: string, schema: z.ZodType<FeatureFlagsFile>): readonly ConfigIssue[] {
  try {
    parseYaml(file, text, schema, crossCheck);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.issues;
    throw error;
  }
}

/** Bad names hide every other problem, so the rest is checked without them too. */
const crossCheck: CrossCheck<FeatureFlagsFile> = (file) => {
  const named = Object.fromEntries(Object.entries(file).filter(([name]) => !name.includes('.') && flagName.safeParse(name).success));
  return [...checkFeatureFlagsFile(file), ...checkFeatureFlagsFile(named as FeatureFlagsFile)];
};

/** The value with something valid in each place that was at fault. */
function patched(value: unknown, issues: readonly ConfigIssue[]): unknown {
  const copy = structuredClone(value);
  for (const { path } of issues) patch(copy, path.split('.'));
  return copy;
}

function patch(value: unknown, path: readonly string[]): void {
  const [key, ...rest] = path;
  if (key === undefined || !isMap(value)) return;
  if (rest.length > 0 && isMap(value[key])) patch(value[key], rest);
  else if (key === 'enabled') value[key] = true;
  else if (key === 'hash_seed') value[key] = 'patched';
  else delete value[key];
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function main(args: readonly string[]): number {
  const [file] = args;
  if (args.includes('--help')) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (file === undefined || args.length > 1) {
    process.stderr.write(USAGE);
    return 2;
  }
  const problems = problemsOfFile(file);
  if (problems.length === 0) VALID.forEach((line) => process.stdout.write(`✓ ${line}\n`));
  else process.stderr.write(`${new ConfigError(file, problems).message}\n`);
  return problems.length === 0 ? 0 : 1;
}

function problemsOfFile(file: string): readonly ConfigIssue[] {
  try {
    return featureFlagsProblems(file, readFileSync(file, 'utf8'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return [{ line: 1, column: 1, path: '', message: `The file cannot be read (${code}).` }];
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv.slice(2));
