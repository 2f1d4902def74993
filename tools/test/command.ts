import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';

export interface CommandOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** What the command prints goes here, appended. */
  readonly log: string;
}

/** Runs a command and waits for it. @returns its exit code; 1 when a signal ended it */
export function runCommand([program = '', ...args]: readonly string[], { cwd, env, log }: CommandOptions): Promise<number> {
  mkdirSync(dirname(log), { recursive: true });
  const output = openSync(log, 'a');
  return new Promise<number>((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', output, output] });
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
