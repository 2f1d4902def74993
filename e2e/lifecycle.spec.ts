import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { portsFor } from '../tools/start/ports.ts';
import { isAlive } from '../tools/start/processes.ts';
import { isReady } from '../tools/start/readiness.ts';
import { admin, chat } from './clients.ts';
import { eventually } from './eventually.ts';
import { freeOffset, Launcher, Stack, stopAll, temporaryFolder } from './stack.ts';

afterEach(stopAll);

describe('Ctrl-C', () => {
  it('lets running answers end, and leaves no process and no pid file', async () => {
    const stack = await Stack.start();
    const pids = stack.children().map(({ pid }) => pid);
    expect(pids).toHaveLength(7);
    const running = Array.from({ length: 16 }, () => chat(stack));
    await Promise.race(running);
    expect(await stack.stop()).toBe(0);
    // What was refused meanwhile was refused whole; what was begun was ended.
    const answers = (await Promise.allSettled(running)).flatMap((settled) => (settled.status === 'fulfilled' ? [settled.value] : []));
    const begun = answers.filter(({ status }) => status === 200);
    expect(begun.length).toBeGreaterThan(0);
    expect(begun.filter(({ body }) => !body.trimEnd().endsWith('data: [DONE]'))).toEqual([]);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(existsSync(stack.urls.pidFile)).toBe(false);
    expect(existsSync(stack.urls.childrenFile)).toBe(false);
  });
});

describe('two systems side by side', () => {
  it('know nothing of each other, and a kill outlives a restart of everything', async () => {
    const state = temporaryFolder();
    const [first, second] = await Promise.all([Stack.start({ state }), Stack.start()]);
    await admin(first, 'POST', '/admin/flags/ttft_pipeline/kill', { reason: 'a test' });
    expect((await chat(first)).flags).not.toContain('ttft_pipeline');
    expect((await chat(second)).flags).toContain('ttft_pipeline');
    const [stopped] = await Promise.all([first.stop(), second.stop()]);
    expect(stopped).toBe(0);

    const again = await Stack.start({ state, offset: first.offset, config: first.config });
    const { flags } = await chat(again);
    expect(flags).toContain('phase4_rollout');
    expect(flags).not.toContain('ttft_pipeline');
    await again.stop();
  });
});

describe('a launcher that was killed', () => {
  it('leaves processes that the next start ends', async () => {
    const state = temporaryFolder();
    const first = await Stack.start({ state });
    const pids = first.children().map(({ pid }) => pid);
    const launcher = first.urls.pidFile;
    process.kill(pidIn(launcher), 'SIGKILL');
    await first.launcher.ended;
    expect(pids.every(isAlive)).toBe(true);
    const second = await Stack.start({ state, offset: first.offset });
    expect(pids.filter(isAlive)).toEqual([]);
    expect(second.launcher.stderr).toContain('ending what the last run left behind');
    await second.stop();
  });
});

describe('a start that cannot be', () => {
  it('says which port is in use in one line, and leaves nothing behind', async () => {
    const offset = await freeOffset();
    const server = createServer().listen(3000 + offset, '127.0.0.1');
    await once(server, 'listening');
    const state = temporaryFolder();
    const launcher = new Launcher(['--port-offset', String(offset), '--state', state]);
    expect(await launcher.ended).toBe(1);
    server.close();
    const lines = launcher.stderr.trimEnd().split('\n');
    expect(lines).toEqual([expect.stringMatching(new RegExp(`^✗ Port ${3000 + offset} is in use( \\(by .+\\))?\\. Stop it or use --port-offset ${offset + 100}\\.$`))]);
    expect(existsSync(join(state, 'children.json'))).toBe(false);
    expect(existsSync(join(state, 'mlx-serving.pid'))).toBe(false);
  });

  it('names the service, its log and its last words, and stops the others', async () => {
    const state = temporaryFolder();
    const config = temporaryFolder();
    writeFileSync(join(config, 'feature-flags.yaml'), 'phase4_rollout:\n  enabled: perhaps\n');
    const launcher = new Launcher(['--port-offset', String(await freeOffset()), '--state', state], { MLX_SERVING_CONFIG_DIR: config });
    expect(await launcher.ended).toBe(1);
    expect(launcher.stderr).toMatch(/^✗ \w+ ended while it started \(exit code 1\)\. Log: .+\.log$/m);
    expect(launcher.stderr).not.toContain('    at ');
    expect(existsSync(join(state, 'children.json'))).toBe(false);
  });

  it('does not start twice on one state directory', async () => {
    const stack = await Stack.start();
    const launcher = new Launcher(['--port-offset', String(await freeOffset()), '--state', stack.urls.state]);
    expect(await launcher.ended).toBe(1);
    expect(launcher.stderr).toContain(`Already running as pid ${pidIn(stack.urls.pidFile)}`);
    await chat(stack);
    await stack.stop();
  });
});

describe('npm start -- --once', () => {
  it('streams one answer, stops, and ends with 0', async () => {
    const launcher = new Launcher(['--once', '--port-offset', String(await freeOffset()), '--state', temporaryFolder()], { MODEL: 'tiny' });
    expect(await launcher.ended).toBe(0);
    expect(launcher.stdout).toContain('Ready.');
  });
});

describe('npm run worker', () => {
  it('runs only the worker, until it is told to stop', async () => {
    const { worker, workerOperations } = portsFor(await freeOffset());
    const launcher = new Launcher(['--only', 'worker', '--port', String(worker), '--metrics-port', String(workerOperations)]);
    await eventually(() => isReady({ kind: 'http', port: workerOperations }));
    launcher.process.kill('SIGTERM');
    expect(await launcher.ended).toBe(0);
  });
});

function pidIn(file: string): number {
  return Number(readFileSync(file, 'utf8'));
}
