import { spawn } from 'node:child_process';
import { SetupError } from './progress.mjs';

/**
 * Runs a command in this process's place: same terminal, signals passed on, its exit code becomes ours.
 * @param {string[]} command
 * @param {NodeJS.ProcessEnv} env
 */
export function handOver([program, ...args], env) {
  const child = spawn(program, args, { stdio: 'inherit', env });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(new SetupError(`${program}: ${error.message}`)));
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGKILL' ? 137 : 1)));
}

/** Ends the process: one clear text for what the person can mend, everything for what is a defect. */
export function fail(error) {
  process.stderr.write(error instanceof SetupError ? `${error.message}\n` : `${error.stack}\n`);
  process.exit(1);
}
