import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';

export interface CommandOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** What the command prints goes here, appended. */
  readonly log: string;
}

/** Longest time of one command, so that one that hangs fails in place of holding everything up. */
const LIMIT_MS = 20 * 60_000;

/** Runs a command and waits for it. @returns its exit code; 1 when a signal or the limit of 20 minutes ended it */
export function runCommand([program = '', ...args]: readonly string[], { cwd, env, log }: CommandOptions): Promise<number> {
  mkdirSync(dirname(log), { recursive: true });
  const output = openSync(log, 'a');
  return new Promise<number>((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', output, output], timeout: LIMIT_MS, killSignal: 'SIGKILL' });
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  }).finally(() => closeSync(output));
}

export function readLog(log: string): string {
  try {
    return readFileSync(log, 'utf8');
  } catch {
    return '';
  }
}
