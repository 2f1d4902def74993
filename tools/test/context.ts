import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { readLog, runCommand } from './command.ts';
import { lastLines } from './failures.ts';
import type { StepOutcome, Step } from './step.ts';

/** What every step needs: where the checkout is, and how commands are run in it. */
export interface TestContext {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  readonly python: string;
}

export function logOf({ root }: TestContext, name: string): string {
  return join(root, 'reports', 'logs', `${name.replace(/[^\w.-]+/g, '-')}.log`);
}

/** Runs commands one after the other until one fails, all into one log. @returns the exit code of the last that ran */
export async function runAll(context: TestContext, name: string, commands: readonly (readonly string[])[], cwd = context.root): Promise<number> {
  const log = logOf(context, name);
  rmSync(log, { force: true });
  for (const command of commands) {
    const code = await runCommand(command, { cwd, env: context.env, log });
    if (code !== 0) return code;
  }
  return 0;
}

/** A step that is one check: it passes when all its commands exit with 0. */
export function check(context: TestContext, name: string, commands: readonly (readonly string[])[], cwd = context.root): Step {
  return {
    name,
    run: async () => verdict(context, name, (await runAll(context, name, commands, cwd)) === 0),
  };
}

export function verdict(context: TestContext, name: string, ok: boolean): StepOutcome {
  if (ok) return { counts: { passed: 1, failed: 0 } };
  const log = logOf(context, name);
  return { counts: { passed: 0, failed: 1 }, note: `see ${relative(context.root, log)}`, failures: [lastLines(readLog(log))] };
}
