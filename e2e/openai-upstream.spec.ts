import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { chat, python } from './clients.ts';
import { eventually } from './eventually.ts';
import { root, Stack, stopAll } from './stack.ts';

const MODEL = join(root, 'python-worker', 'src', 'mlx_worker', 'models', 'tiny');

let server: ChildProcess;
let stack: Stack;
let reference: string;

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

beforeAll(async () => {
  const port = await freePort();
  const command = join(root, 'python-worker', '.venv', 'bin', 'python');
  server = spawn(command, ['-m', 'mlx_lm', 'server', '--model', MODEL, '--port', String(port), '--log-level', 'ERROR'], { stdio: 'ignore' });
  await eventually(async () => expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200), 60_000);
  [stack, { text: reference }] = await Promise.all([Stack.start({ env: { MLX_SERVING_WORKERS: `http://127.0.0.1:${port}#default_model` } }), python<{ text: string }>('reference.py')]);
});

afterAll(async () => {
  await stopAll();
  server.kill('SIGKILL');
});

describe('mlx_lm.server behind the gateway', () => {
  it('answers as mlx_lm itself, in our stream', async () => {
    const answer = await chat(stack);
    expect([answer.status, answer.text]).toEqual([200, reference]);
    expect(answer.variant).toBe('baseline');
  });

  it('answers whole, with its usage', async () => {
    const body = JSON.stringify({ model: 'tiny', temperature: 0, max_tokens: 5, messages: [{ role: 'user', content: 'Explain the canary.' }] });
    const response = await fetch(`${stack.urls.gateway}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    expect(await response.json()).toMatchObject({ choices: [{ finish_reason: 'length' }], usage: { completion_tokens: 5, prompt_tokens: expect.any(Number) } });
  });

  it('is out when it is gone', async () => {
    server.kill('SIGKILL');
    await eventually(async () => expect((await fetch(`${stack.urls.gateway}/health/ready`)).status).toBe(503));
    expect((await chat(stack)).status).toBe(503);
  });
});
