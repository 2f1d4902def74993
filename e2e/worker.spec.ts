import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createEngine, type Engine } from '@mlx-serving/client';
import { createServiceClient, type ServiceClient, type StatsResponse, Worker } from '@mlx-serving/contracts';
import { portsFor } from '../tools/start/ports.ts';
import { chat } from './clients.ts';
import { eventually } from './eventually.ts';
import { copyOfConfig, Stack, stopAll } from './stack.ts';

const PROMPT = 'The kill switch';
let stack: Stack;
let engine: Engine;
let worker: ServiceClient<typeof Worker>;
/** Faults on purpose, by worker. */
let faults: string;

beforeAll(async () => {
  const config = copyOfConfig();
  turnOn(join(config, 'feature-flags.yaml'), /(speculation|kv_prep):\n {4}enabled: false/g);
  turnOn(join(config, 'runtime.yaml'), /(kv_prep):\n {4}enabled: false/g);
  faults = join(config, 'faults.json');
  writeFileSync(faults, '{}');
  stack = await Stack.start({ config, env: { MLX_SERVING_STUCK_AFTER_MS: '3000', MLX_SERVING_WORKER_STUCK_AFTER_MS: '5000', MLX_WORKER_FAULT: faults } });
  engine = createEngine({ address: stack.urls.gatewayGrpc });
  worker = createServiceClient(Worker, `127.0.0.1:${portsFor(stack.offset).worker}`);
});
afterAll(async () => {
  engine.close();
  worker.close();
  await stopAll();
});

function turnOn(path: string, part: RegExp): void {
  writeFileSync(path, readFileSync(path, 'utf8').replaceAll(part, '$1:\n    enabled: true'));
}

async function workerStats(): Promise<StatsResponse> {
  for await (const stats of worker.stats({}, { deadlineMs: 2_000 }) as AsyncIterable<StatsResponse>) return stats;
  throw new Error('The worker said nothing.');
}

async function complete(prompt: string): Promise<string> {
  const response = await fetch(`${stack.urls.gateway}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny', prompt, temperature: 0, max_tokens: 16 }),
  });
  expect(response.status).toBe(200);
  const { choices } = (await response.json()) as { choices: { text: string }[] };
  return choices[0]?.text ?? '';
}

describe('the worker of the running system', () => {
  it('outlives the two requests that end mlx_lm.server for good', async () => {
    const { pid } = await workerStats();
    const first = await complete(PROMPT);
    expect(first).not.toBe('');
    await complete(PROMPT + first);
    expect(await complete(PROMPT)).toBe(first);
    expect(await workerStats()).toMatchObject({ pid, restarts: 0, failedRequestsTotal: 0n });
  });

  it('tells the stages of an answer, hits and misses, and keeps the statistics', async () => {
    const pipeline = await engine.ttft.ready();
    const told: string[] = [];
    for (const name of ['stage:queued', 'stage:speculated', 'stage:firstToken', 'speculation:hit', 'speculation:miss'] as const) {
      pipeline.on(name, () => told.push(name));
    }
    expect(pipeline.isEnabled()).toBe(true);
    expect(await pipeline.addToAllowlist(PROMPT)).toBe(1);
    await eventually(async () => ((await workerStats()).speculation?.prepared ?? 0n) > 0n);
    const text = await engine.generate({ prompt: PROMPT, maxTokens: 8, ttftHint: { streamId: 'request-123', estimatedTokens: 10, priority: 'high' } }).text();
    expect(text).not.toBe('');
    expect(told.sort()).toEqual(['speculation:hit', 'stage:firstToken', 'stage:queued', 'stage:speculated']);
    await eventually(() => pipeline.getSpeculationStats().totalHits > 0 && pipeline.getQueueStats().totalQueued > 0);
  });

  it.each([
    ['killed', 'SIGKILL', 'worker ended (SIGKILL)', 1],
    ['stopped', 'SIGSTOP', 'worker has shown no sign of life for 3 s and is killed', 2],
  ] as const)('is started again when it was %s', async (_how, signal, line, restarts) => {
    const { pid } = stack.child('worker');
    process.kill(pid, signal);
    await eventually(() => stack.launcher.stderr.includes(line));
    const after = await eventually(workerStats, 30_000);
    expect(after.pid).not.toBe(pid);
    expect(after.restarts).toBe(restarts);
    await eventually(async () => (await chat(stack)).status === 200);
  });

  it('ends by itself when its engine hangs, and is started again', async () => {
    const { pid, restarts } = await workerStats();
    writeFileSync(faults, JSON.stringify({ worker: { hang: true } }));
    const caught = chat(stack).catch(() => undefined);
    await eventually(() => stack.log('worker').includes('the engine stands still'));
    writeFileSync(faults, '{}');
    await eventually(() => stack.launcher.stderr.includes('worker ended (exit code 70)'), 60_000);
    const after = await eventually(workerStats, 30_000);
    expect(after.pid).not.toBe(pid);
    expect(after.restarts).toBe(restarts + 1);
    await caught;
    await eventually(async () => (await chat(stack)).status === 200);
  });
});
