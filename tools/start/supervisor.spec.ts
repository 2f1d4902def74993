import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { endLeftovers } from './leftovers.ts';
import { assertPortsFree } from './port-check.ts';
import { isAlive } from './processes.ts';
import type { ServiceSpec } from './services.ts';
import { StateDirectory } from './state-directory.ts';
import { Supervisor } from './supervisor.ts';

/** A service that is ready at once, and writes the signals that it gets into its log. */
const SERVICE = `
  const server = require('http').createServer((_, response) => response.end()).listen(Number(process.argv[1]), '127.0.0.1');
  process.on('SIGHUP', () => console.log('reloaded'));
  process.on('SIGTERM', () => process.exit(0));
`;

let state: StateDirectory;
let lines: string[];
let supervisor: Supervisor;
let heard: () => void = () => {};

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

async function service(name: string, script = SERVICE, stopStage = 2): Promise<ServiceSpec> {
  const port = await freePort();
  return { name, command: [process.execPath, '-e', script, String(port)], env: {}, ready: { kind: 'http', port }, reloads: true, stopStage };
}

function supervise(services: readonly ServiceSpec[]): Supervisor {
  const say = (line: string): void => {
    lines.push(line);
    heard();
  };
  supervisor = new Supervisor({ services, state, directory: tmpdir(), environment: process.env, say });
  return supervisor;
}

async function untilSaid(part: string): Promise<void> {
  while (!lines.some((line) => line.includes(part))) await new Promise<void>((resolve) => (heard = resolve));
}

const pids = (): number[] => (JSON.parse(readFileSync(state.childrenFile, 'utf8')) as { pid: number }[]).map(({ pid }) => pid);

beforeEach(() => {
  state = new StateDirectory(mkdtempSync(join(tmpdir(), 'mlx-serving-')));
  state.claim();
  lines = [];
});

afterEach(async () => {
  await supervisor?.stop();
  state.release();
});

describe('the supervisor', () => {
  it('records what it started, and leaves nothing running when it stops', async () => {
    await supervise([await service('one'), await service('two', SERVICE, 3)]).start();
    const started = pids();
    expect(started).toHaveLength(2);
    expect(started.every(isAlive)).toBe(true);
    await supervisor.stop();
    expect(started.some(isAlive)).toBe(false);
  });

  it('names the log and shows its last lines when a service cannot start', async () => {
    supervise([await service('broken', "console.log('no model'); process.exit(3)")]);
    await expect(supervisor.start()).rejects.toThrow(`broken ended while it started (exit code 3). Log: ${state.logFile('broken')}\n  no model`);
  });

  it('starts again what dies, and says so', async () => {
    await supervise([await service('one')]).start();
    const [first = 0] = pids();
    process.kill(first, 'SIGKILL');
    await untilSaid('one is back');
    expect(lines).toContainEqual(expect.stringMatching(/^✗ one ended \(SIGKILL\)\. Log: .*Starting it again in 100 ms \(1 of 5 within a minute\)\.$/));
    expect(pids()).not.toContain(first);
  });

  it('kills what hangs, and starts it again', async () => {
    await supervise([{ ...(await service('one')), stuckAfterMs: 100 }]).start();
    const [first = 0] = pids();
    process.kill(first, 'SIGSTOP');
    await untilSaid('one is back');
    expect(lines).toContainEqual(expect.stringMatching(/^✗ one has shown no sign of life for 0\.1 s and is killed\. Log: /));
    expect(isAlive(first)).toBe(false);
    expect(pids()).not.toContain(first);
  });

  it('gives up on a service that keeps dying', async () => {
    const marker = join(state.path, 'started-once');
    const script = `if (require('fs').existsSync('${marker}')) process.exit(1); require('fs').writeFileSync('${marker}', ''); ${SERVICE}`;
    await supervise([await service('one', script)]).start();
    process.kill(pids()[0] ?? 0, 'SIGKILL');
    await expect(supervisor.givenUp).resolves.toContain('one ended 6 times within a minute');
  });

  it('passes a reload on', async () => {
    await supervise([await service('one')]).start();
    supervisor.reload();
    while (!readFileSync(state.logFile('one'), 'utf8').includes('reloaded')) await delay(5);
  });

  it('kills at once when told to', async () => {
    await supervise([await service('stubborn', SERVICE.replace('process.exit(0)', 'undefined'))]).start();
    const [pid = 0] = pids();
    const stopped = supervisor.stop();
    supervisor.kill();
    await stopped;
    expect(isAlive(pid)).toBe(false);
  });
});

describe('the next start', () => {
  it('ends what a killed launcher left behind', async () => {
    await supervise([await service('one')]).start();
    const [pid = 0] = pids();
    const said: string[] = [];
    await endLeftovers(state, (line) => said.push(line));
    expect(isAlive(pid)).toBe(false);
    expect(said).toEqual([`ending what the last run left behind: one (pid ${pid})`]);
  });

  it('leaves a process alone that only has the number of one that ended', () => {
    state.record([{ name: 'one', pid: process.pid, command: 'something that this process is not', log: '' }]);
    expect(state.leftovers()).toEqual([]);
  });

  it('replaces a stale pid file', () => {
    state.claim();
    expect(readFileSync(state.pidFile, 'utf8')).toBe(`${process.pid}\n`);
  });

  it('makes a token that only its owner can read, and keeps it', () => {
    state.ensureToken();
    const token = readFileSync(state.tokenFile, 'utf8');
    expect(token).toMatch(/^[0-9a-f]{64}\n$/);
    state.ensureToken();
    expect(readFileSync(state.tokenFile, 'utf8')).toBe(token);
  });
});

describe('the check of the ports', () => {
  it('names the port and what to do about it', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    await expect(assertPortsFree([port], 100)).rejects.toThrow(new RegExp(`^Port ${port} is in use( \\(by .*pid ${process.pid}\\))?\\. Stop it or use --port-offset 100\\.$`));
    server.close();
  });
});
