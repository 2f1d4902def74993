import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { SetupError } from './progress.mjs';

/**
 * Runs a command quietly; what it prints goes to a log.
 * @param {string[]} command
 * @param {{ log: string, cwd?: string }} options
 * @returns {Promise<void>}
 * @throws SetupError with the log's path and its last lines when the command fails
 */
export async function runLogged([program, ...args], { log, cwd }) {
  mkdirSync(dirname(log), { recursive: true });
  const output = openSync(log, 'w');
  try {
    await new Promise((resolve, reject) => {
      const child = spawn(program, args, { cwd, stdio: ['ignore', output, output] });
      child.on('error', reject);
      child.on('exit', (code, signal) => (code === 0 ? resolve() : reject(new Error(signal ?? `exit code ${code}`))));
    });
  } catch (error) {
    throw new SetupError(`${[program, ...args].join(' ')}: ${error.message}. Log: ${log}\n${lastLines(log, 8)}`);
  } finally {
    closeSync(output);
  }
}

function lastLines(file, count) {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count);
  return lines.map((line) => `  ${line}`).join('\n');
}
