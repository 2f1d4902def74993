import { describe, expect, it } from '@jest/globals';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const service = fileURLToPath(new URL('./example-service.ts', import.meta.url));

interface Running {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly output: { out: string; err: string };
  /** Resolves when the text was written. */
  until(text: string): Promise<void>;
  ended(): Promise<{ code: number | null; out: string; err: string }>;
}

function start(environment: Record<string, string> = {}, ...options: string[]): Running {
  const child = spawn(process.execPath, ['--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', service, ...options], {
    env: { PATH: process.env['PATH'] ?? '', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (output.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (output.err += text));
  const closed = once(child, 'close') as Promise<[number | null]>;
  return {
    child,
    output,
    async until(text) {
      while (!(output.out + output.err).includes(text)) await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data')]);
    },
    async ended() {
      const [code] = await closed;
      return { code, ...output };
    },
  };
}

describe('run', () => {
  it('explains itself with --help and ends with 0', async () => {
    const { code, out, err } = await start({}, '--help').ended();
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('mlx-serving-example: shows how a service starts and stops');
    for (const name of ['MLX_SERVING_HOST=127.0.0.1', 'X_OPERATIONS_PORT=9199', 'X_MODE=good', 'MLX_SERVING_LOG_LEVEL=info']) expect(out).toContain(name);
  });

  it.each([
    ['a bad value', { X_OPERATIONS_PORT: 'http' }, 'example: X_OPERATIONS_PORT=http: '],
    ['a bad log level', { MLX_SERVING_LOG_LEVEL: 'loud' }, 'example: MLX_SERVING_LOG_LEVEL=loud: '],
    ['what the operator can mend', { X_MODE: 'no-start' }, 'example: Port 1 is in use.'],
  ])('ends with 1 and one line, without a stack, for %s', async (_, environment, line) => {
    const { code, out, err } = await start(environment).ended();
    expect([code, out, err.trimEnd().split('\n').length]).toEqual([1, '', 1]);
    expect(err.startsWith(line)).toBe(true);
  });

  it('ends with 1 and logs the error when it cannot start for a reason that nobody foresaw', async () => {
    const { code, err } = await start({ X_MODE: 'broken-start' }).ended();
    expect(code).toBe(1);
    expect(JSON.parse(err.trimEnd())).toMatchObject({ level: 'error', service: 'example', msg: 'could not start', err: { message: 'a defect' } });
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('stops cleanly on %s and ends with 0', async (signal) => {
    const running = start();
    await running.until('"started"');
    running.child.kill(signal);
    const { code, out } = await running.ended();
    expect([code, out]).toEqual([0, 'stopped\n']);
  });

  it('stops once, however many signals come', async () => {
    const running = start({ X_MODE: 'slow-stop' });
    await running.until('"started"');
    running.child.kill('SIGTERM');
    await running.until('stopped');
    running.child.kill('SIGINT');
    expect(await running.ended()).toMatchObject({ code: 0, out: 'stopped\n' });
  });

  it('ends with 1 when it could not stop cleanly', async () => {
    const running = start({ X_MODE: 'broken-stop' });
    await running.until('"started"');
    running.child.kill('SIGTERM');
    expect(await running.ended()).toMatchObject({ code: 1 });
  });

  it('reloads on SIGHUP, and survives a reload that fails', async () => {
    const running = start({ X_MODE: 'broken-reload' });
    await running.until('"started"');
    running.child.kill('SIGHUP');
    await running.until('reload failed');
    running.child.kill('SIGTERM');
    expect(await running.ended()).toMatchObject({ code: 0, out: 'reloaded\nstopped\n' });
  });

  it('stops and ends with 1 after an error that nobody caught', async () => {
    const running = start({ X_MODE: 'throw-later' });
    await running.until('"started"');
    running.child.kill('SIGHUP');
    const { code, out, err } = await running.ended();
    expect([code, out]).toEqual([1, 'reloaded\nstopped\n']);
    expect(err).toContain('uncaughtException');
  });
});
