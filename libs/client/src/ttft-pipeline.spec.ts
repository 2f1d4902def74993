import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Priority } from '@mlx-serving/contracts';
import { FakeGateway, until } from '@mlx-serving/testing';
import { createEngine, type Engine, type TtftHint } from './index.ts';

let gateway: FakeGateway;
let engine: Engine;

beforeEach(async () => {
  gateway = await new FakeGateway().start();
  engine = createEngine({ address: gateway.address });
});
afterEach(async () => {
  engine.close();
  await gateway.kill();
});

describe('the TTFT pipeline of an engine', () => {
  it('tells the stages of each answer with their times, and hits and misses with the name of the prompt', async () => {
    gateway.script = ['x'];
    gateway.stages = [
      { name: 'stage:queued', atMs: 0.5, promptHash: '', confidence: 0 },
      { name: 'stage:warmed', atMs: 2, promptHash: '', confidence: 0 },
      { name: 'speculation:hit', atMs: 3, promptHash: 'abc', confidence: 1 },
      { name: 'stage:speculated', atMs: 3, promptHash: '', confidence: 0 },
      { name: 'stage:firstToken', atMs: 4, promptHash: '', confidence: 0 },
      { name: 'speculation:miss', atMs: 5, promptHash: 'def', confidence: 0 },
    ];
    const told: unknown[] = [];
    for (const name of ['stage:queued', 'stage:warmed', 'stage:speculated', 'stage:firstToken'] as const) {
      engine.ttft.on(name, (streamId, { durationMs }) => told.push([name, streamId, durationMs]));
    }
    engine.ttft.on('speculation:hit', (promptHash, confidence) => told.push(['hit', promptHash, confidence]));
    engine.ttft.on('speculation:miss', (promptHash) => told.push(['miss', promptHash]));
    await engine.generate({ prompt: 'Hi', requestId: 'one' }).text();
    expect(told).toEqual([
      ['stage:queued', 'one', 0.5],
      ['stage:warmed', 'one', 2],
      ['hit', 'abc', 1],
      ['stage:speculated', 'one', 3],
      ['stage:firstToken', 'one', 4],
      ['miss', 'def'],
    ]);
  });

  it('answers at once with the last known statistics', async () => {
    expect(engine.ttft.isEnabled()).toBe(false);
    expect(engine.ttft.getQueueStats()).toEqual({ size: 0, maxSize: 0, totalQueued: 0, totalWarmed: 0, hitRate: 0 });
    const pipeline = await engine.ttft.ready();
    expect(pipeline.isEnabled()).toBe(true);
    expect(pipeline.getQueueStats()).toEqual({ size: 1, maxSize: 100, totalQueued: 8, totalWarmed: 6, hitRate: 0.75 });
    expect(pipeline.getSpeculationStats()).toEqual({ totalHits: 3, totalMisses: 1, hitRate: 0.75, candidateCount: 2 });
  });

  it('follows a gateway that comes back, and ends with the engine', async () => {
    await gateway.kill();
    const known = engine.ttft.ready();
    await gateway.start();
    await known;
    expect(engine.ttft.isEnabled()).toBe(true);
    engine.close();
    await engine.ttft.ready();
  });

  it('puts prompts on the allowlist', async () => {
    expect(await engine.ttft.addToAllowlist('Hello, how can I help you?')).toBe(1);
    expect(gateway.allowed).toEqual(['Hello, how can I help you?']);
    await gateway.kill();
    await expect(engine.ttft.addToAllowlist('x')).rejects.toMatchObject({ name: 'InferenceError' });
  });

  it('sends a hint along, and takes its stream for the request', async () => {
    gateway.script = ['x'];
    const hint: TtftHint = { streamId: 'request-123', prompt: 'What is the capital of France?', model: 'tiny', estimatedTokens: 10, priority: 'high', allowSpeculation: true };
    const generation = engine.generate({ model: hint.model, prompt: hint.prompt, maxTokens: 50, ttftHint: hint });
    await generation.text();
    expect(generation.decision?.requestId).toBe('request-123');
    await until(() => gateway.requests.length === 1);
    expect(gateway.requests[0]?.ttftHint).toMatchObject({ allowSpeculation: true, estimatedTokens: 10, priority: Priority.INTERACTIVE });
  });
});
