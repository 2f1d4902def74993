import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { FinishReason } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import { FakeGateway, until } from '@mlx-serving/testing';
import { clientEnvironment } from './config.ts';
import { createEngine, type Engine, InferenceError } from './index.ts';

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

describe('createEngine', () => {
  it('iterates over the chunks, and knows the decision and the end', async () => {
    gateway.script = ['Hel', 'lo'];
    const generation = engine.generate({ model: 'tiny', prompt: 'Hi', requestId: 'mine' });
    const chunks = [];
    for await (const chunk of generation) {
      chunks.push(chunk);
      expect(generation.decision).toMatchObject({ requestId: 'mine', variant: 'baseline', enabledFlags: ['warm'] });
    }
    expect(chunks).toEqual([{ text: 'Hel', tokenIds: [1] }, { text: 'lo', tokenIds: [2] }]);
    expect(generation.result).toEqual({ finishReason: 'stop', usage: { promptTokens: 3, completionTokens: 2 }, ttftMs: 1.5 });
  });

  it('sends what was asked for', async () => {
    gateway.script = ['x'];
    await engine.generate({ messages: [{ role: 'user', content: 'Hi' }], maxTokens: 5, temperature: 0.5, topP: 0.5, seed: 7, stop: ['.'], user: 'ada' }).text();
    expect(gateway.requests[0]).toMatchObject({
      model: '',
      user: 'ada',
      input: { case: 'conversation', value: { messages: [{ role: 'user', content: 'Hi' }] } },
      sampling: { maxTokens: 5, temperature: 0.5, topP: 0.5, seed: 7n, stop: ['.'] },
    });
    await engine.generate({ prompt: 'Hi' }).text();
    expect(gateway.requests[1]?.sampling?.temperature).toBeUndefined();
  });

  it('sends every way of drawing that there is', async () => {
    gateway.script = ['x'];
    const schema = { type: 'object' };
    await engine.generate({ prompt: 'Hi', topK: 5, minP: 0.25, repetitionPenalty: 2, presencePenalty: 0.5, frequencyPenalty: -0.5, logitBias: { 7: -100 }, jsonSchema: schema }).text();
    expect(gateway.requests[0]?.sampling).toMatchObject({ topK: 5, minP: 0.25, repetitionPenalty: 2, presencePenalty: 0.5, frequencyPenalty: -0.5, logitBias: { 7: -100 }, jsonSchema: JSON.stringify(schema) });
  });

  it('shows its API key with every call, its own or that of the environment', async () => {
    gateway.script = ['x'];
    const withKey = createEngine({ address: gateway.address, apiKey: 'mlxk_1' });
    await withKey.generate({ prompt: 'Hi' }).text();
    await withKey.models();
    await withKey.ttft.addToAllowlist('Hi');
    await withKey.ttft.ready();
    withKey.close();
    expect(gateway.authorizations).toEqual(Array(4).fill('Bearer mlxk_1'));
    expect(clientEnvironment({ MLX_SERVING_GATEWAY_ADDRESS: 'host:1', MLX_SERVING_API_KEY: 'mlxk_2' })).toEqual({ address: 'host:1', apiKey: 'mlxk_2' });
    expect(clientEnvironment({})).toEqual({ address: '127.0.0.1:50051', apiKey: undefined });
  });

  it('reads a whole text, and tells a length end from a stop', async () => {
    gateway.script = ['a', 'b', 'c'];
    gateway.finishReason = FinishReason.LENGTH;
    const generation = engine.generate({ prompt: 'Hi' });
    expect([await generation.text(), generation.result?.finishReason]).toEqual(['abc', 'length']);
  });

  it('cancels when the signal aborts, and when the loop is left early', async () => {
    const abort = new AbortController();
    const reading = engine.generate({ prompt: 'Hi', signal: abort.signal }).text();
    await until(() => gateway.requests.length === 1);
    abort.abort();
    await expect(reading).rejects.toMatchObject({ name: 'InferenceError', code: 'CANCELLED' });
    await until(() => gateway.cancelled === 1);
    gateway.holdAfter = 1;
    gateway.script = ['one', 'two'];
    for await (const chunk of engine.generate({ prompt: 'Hi' })) {
      expect(chunk.text).toBe('one');
      break;
    }
    await until(() => gateway.cancelled === 2);
  });

  it('ends at its deadline', async () => {
    await expect(engine.generate({ prompt: 'Hi', deadlineMs: 20 }).text()).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  it('throws typed errors with the reason and the time to retry after', async () => {
    gateway.failure = new ServiceError('RESOURCE_EXHAUSTED', 'QUEUE_FULL', 'Too many requests wait already.', { retryAfterMs: 2_000 });
    const error: unknown = await engine.generate({ prompt: 'Hi' }).text().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(InferenceError);
    expect(error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'QUEUE_FULL', message: 'Too many requests wait already.', retryAfterMs: 2_000 });
  });

  it('says that a gateway is not there', async () => {
    await gateway.kill();
    await expect(engine.generate({ prompt: 'Hi' }).text()).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: 'UNAVAILABLE' });
    await expect(engine.models()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('keeps a failure for who reads later, and troubles nobody when it is never read', async () => {
    await gateway.kill();
    const unread = engine.generate({ prompt: 'Hi' });
    const late = engine.generate({ prompt: 'Hi' });
    // Calls of one connection fail in their order: the two before it are over when it is.
    await expect(engine.generate({ prompt: 'Hi' }).text()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(late.text()).rejects.toMatchObject({ name: 'InferenceError', code: 'UNAVAILABLE' });
    unread.cancel();
  });

  it('may be cancelled without being read', async () => {
    const generation = engine.generate({ prompt: 'Hi' });
    await until(() => gateway.requests.length === 1);
    generation.cancel();
    await until(() => gateway.cancelled === 1);
    await expect(generation.text()).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('lists the models', async () => {
    expect(await engine.models()).toEqual(['tiny']);
  });
});
