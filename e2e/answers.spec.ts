import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI from 'openai';
import { contentOf } from '../tools/start/first-answer.ts';
import { chat, MAX_TOKENS, output, python, question } from './clients.ts';
import { eventually } from './eventually.ts';
import { Stack, stopAll } from './stack.ts';

let stack: Stack;
let reference: string;

beforeAll(async () => {
  [stack, { text: reference }] = await Promise.all([Stack.start(), python<{ text: string }>('reference.py')]);
});

afterAll(stopAll);

describe('an answer of the running system', () => {
  it('is what mlx_lm itself would have said', async () => {
    expect(reference).not.toBe('');
    const answer = await chat(stack);
    expect(answer.text).toBe(reference);
  });

  it('streams to curl as server-sent events that end in [DONE]', async () => {
    const body = JSON.stringify({ model: 'tiny', stream: true, temperature: 0, max_tokens: MAX_TOKENS, messages: question });
    const events = await output(['curl', '-sSN', `${stack.urls.gateway}/v1/chat/completions`, '-H', 'content-type: application/json', '-d', body]);
    expect(events.trimEnd().endsWith('data: [DONE]')).toBe(true);
    expect(contentOf(events)).toBe(reference);
  });

  it("comes to OpenAI's JavaScript client, at once and streamed", async () => {
    const client = new OpenAI({ baseURL: `${stack.urls.gateway}/v1`, apiKey: 'unused' });
    const request = { model: 'tiny', temperature: 0, max_tokens: MAX_TOKENS, messages: [...question] };
    const whole = await client.chat.completions.create(request);
    expect(whole.choices[0]?.message.content).toBe(reference);
    expect(whole.usage?.completion_tokens).toBeGreaterThan(0);
    let streamed = '';
    for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) streamed += chunk.choices[0]?.delta.content ?? '';
    expect(streamed).toBe(reference);
    const models = await client.models.list();
    expect(models.data.map(({ id }) => id)).toContain('tiny');
  });

  it("comes to OpenAI's Python client, at once and streamed", async () => {
    const answer = await python<Record<string, unknown>>('openai_client.py', `${stack.urls.gateway}/v1`);
    expect(answer).toMatchObject({ text: reference, streamed: reference, models: ['tiny'] });
    expect(answer['streamed_usage']).toEqual(answer['usage']);
  });

  it('comes to a gRPC client that knows nothing but the address', async () => {
    const answer = await python<Record<string, unknown>>('grpc_client.py', stack.urls.gatewayGrpc);
    expect(answer).toMatchObject({ text: reference, variant: 'baseline' });
    expect(answer['services']).toContain('mlx_serving.v1.Inference');
  });

  it('says what was decided for it', async () => {
    const answer = await chat(stack, { user: 'someone' });
    expect(answer.variant).toBe('baseline');
    expect(answer.flags).toEqual(expect.arrayContaining(['phase4_rollout', 'ttft_pipeline', 'ttft_pipeline.warmup_queue', 'qos_monitor']));
    expect(answer.flags).not.toEqual(expect.arrayContaining(['http2_transport']));
    expect(answer.revision).toMatch(/^flags=\d+, routing=\d+$/);
  });

  it('is the same for many at one time', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => chat(stack)));
    expect(answers.map(({ text }) => text)).toEqual(answers.map(() => reference));
  });

  it('is an error in the form of OpenAI when the request cannot be used', async () => {
    const response = await fetch(`${stack.urls.gateway}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"messages":"none"}' });
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: Record<string, unknown> };
    expect(error).toMatchObject({ type: 'invalid_request_error', message: expect.any(String) });
    expect(JSON.stringify(error)).not.toContain('node:');
  });

  it('is the same over the lean transport, for whom its flag is on', async () => {
    const path = join(stack.config, 'feature-flags.yaml');
    writeFileSync(path, readFileSync(path, 'utf8').replace(/http2_transport:\n {2}enabled: false\n/, 'http2_transport:\n  enabled: true\n  whitelist: [lean]\n'));
    await eventually(async () => expect((await chat(stack, { user: 'lean', maxTokens: 1 })).flags).toContain('http2_transport'));
    const answers = await Promise.all(['lean', 'someone', 'lean', 'someone'].map((user) => chat(stack, { user })));
    expect(answers.map(({ flags }) => flags.includes('http2_transport'))).toEqual([true, false, true, false]);
    expect(answers.map(({ text }) => text)).toEqual(answers.map(() => reference));
  });

  it('that is cancelled over the lean transport is cancelled at the worker', async () => {
    const cancelled = async (): Promise<number> => Number(/^mlx_serving_worker_requests_total\{.*cancelled.*\} (\d+)/m.exec(await (await fetch(`http://127.0.0.1:${9111 + stack.offset}/metrics`)).text())?.[1] ?? 0);
    const before = await cancelled();
    const body = JSON.stringify({ model: 'tiny', stream: true, user: 'lean', temperature: 1, max_tokens: 400, prompt: 'Once upon a time' });
    await eventually(async () => {
      // A short answer may have ended before it is left.
      const leave = new AbortController();
      const response = await fetch(`${stack.urls.gateway}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: leave.signal });
      await response.body?.getReader().read();
      leave.abort();
      expect(await cancelled()).toBeGreaterThan(before);
    });
  });
});
