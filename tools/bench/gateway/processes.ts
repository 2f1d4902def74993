import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../..', import.meta.url));
/** Where peers are installed and logs are written. It is not part of the repository, and may be removed at any time. */
export const cache = join(root, '.mlx-serving', 'bench', 'gateway');
const STARTS_WITHIN_MS = 90_000;

/** A process of the bench. */
export interface Running {
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts a process and waits until the address answers anything at all. @throws Error, naming its log, when it does not */
export async function startProcess(name: string, command: readonly string[], url: string, env: NodeJS.ProcessEnv = {}): Promise<Running> {
  mkdirSync(cache, { recursive: true });
  const path = join(cache, `${name}.log`);
  const log = openSync(path, 'w');
  const [program = '', ...args] = command;
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', log, log] });
  child.on('error', () => undefined);
  const began = performance.now();
  while (!(await answers(url))) {
    if (child.exitCode !== null || performance.now() - began > STARTS_WITHIN_MS) {
      await stopChild(child);
      throw new Error(`${name} does not answer; see ${path}.`);
    }
    await delay(50);
  }
  return { pid: child.pid ?? 0, stop: () => stopChild(child) };
}

export async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await ended;
  clearTimeout(force);
}

/** Runs a command to its end. @throws Error with the end of what it said */
export function runToEnd(command: readonly string[], directory: string, env: NodeJS.ProcessEnv = {}): void {
  mkdirSync(directory, { recursive: true });
  const [program = '', ...args] = command;
  const done = spawnSync(program, args, { cwd: directory, env: { ...process.env, ...env }, encoding: 'utf8', timeout: 600_000 });
  if (done.status !== 0) throw new Error(`${program} ${args[0] ?? ''}: ${(done.error?.message ?? done.stderr).slice(-400)}`);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(1_000) }).then(() => true, () => false);
}
