import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { FakeWorker } from '@mlx-serving/testing';
import OpenAI from 'openai';
import { errorOf, events, Harness } from './gateway-harness.ts';

const script = ['Hel', 'lo', '', ' wörld'];
const gateway = new Harness({ worker: new FakeWorker({ script, models: ['fake', 'org/other'] }), runtime: { max_body_bytes: 4096, max_messages: 3 } });

beforeAll(() => gateway.start());
afterAll(() => gateway.stop());

describe('POST /v1/chat/completions', () => {
  it('answers whole with text, finish reason and usage', async () => {
    const response = await gateway.chat();
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      id: expect.stringMatching(/^chatcmpl-\w{32}$/),
      object: 'chat.completion',
      created: expect.any(Number),
      model: 'fake',
      choices: [{ index: 0, message: { role: 'assistant', content: 'Hello wörld', refusal: null }, logprobs: null, finish_reason: 'stop' }],
      usage: { prompt_tokens: 7, completion_tokens: 4, total_tokens: 11, prompt_tokens_details: { cached_tokens: 0 } },
    });
  });

  it('streams the role first, one event a token, the finish reason last, then [DONE]', async () => {
    const response = await gateway.chat({ stream: true });
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const chunks = events(await response.text());
    expect(chunks.pop()).toBe('[DONE]');
    expect(chunks.map((chunk) => (chunk as { choices: object[] }).choices[0])).toEqual([
      { index: 0, delta: { role: 'assistant', content: '', refusal: null }, logprobs: null, finish_reason: null },
      { index: 0, delta: { content: 'Hel' }, logprobs: null, finish_reason: null },
      { index: 0, delta: { content: 'lo' }, logprobs: null, finish_reason: null },
      { index: 0, delta: { content: ' wörld' }, logprobs: null, finish_reason: null },
      { index: 0, delta: {}, logprobs: null, finish_reason: 'stop' },
    ]);
    expect(chunks[0]).toMatchObject({ object: 'chat.completion.chunk', model: 'fake', id: (chunks[1] as { id: string }).id });
    expect(chunks[0]).not.toHaveProperty('usage');
  });

  it('ends with a usage chunk without choices when it is asked for, and says null before', async () => {
    const chunks = events(await (await gateway.chat({ stream: true, stream_options: { include_usage: true } })).text()) as { usage: object; choices: object[] }[];
    expect(chunks.at(-2)).toMatchObject({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 4, total_tokens: 11 } });
    expect(chunks.slice(0, -2).every((chunk) => chunk.usage === null)).toBe(true);
  });

  it('stamps the decision on the answer', async () => {
    const { headers } = await gateway.chat({}, { headers: { 'x-request-id': 'my-id' } });
    expect([headers.get('x-request-id'), headers.get('x-mlx-serving-variant'), headers.get('x-mlx-serving-flags'), headers.get('x-mlx-serving-revision')]).toEqual([
      'my-id',
      'baseline',
      'warm',
      'flags=12, routing=1',
    ]);
  });

  it('gives the worker what was asked for', async () => {
    await gateway.chat({
      messages: [{ role: 'developer', content: 'Be brief.' }, { role: 'user', content: [{ type: 'text', text: 'Hel' }, { type: 'text', text: 'lo' }] }],
      max_completion_tokens: 5, temperature: 0.5, top_p: 0.9, seed: 42, stop: 'x',
    }, { headers: { 'x-request-id': 'r-1' } });
    const { request } = gateway.worker.generations.at(-1)!;
    expect(request).toMatchObject({
      requestId: 'r-1',
      model: 'fake',
      input: { case: 'conversation', value: { messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hello' }] } },
      sampling: { maxTokens: 5, temperature: 0.5, seed: 42n, stop: ['x'] },
      enabledFlags: ['warm'],
    });
    await gateway.chat({ top_p: 0 });
    expect(gateway.worker.generations.at(-1)!.request.sampling).toMatchObject({ temperature: 0 });
    await gateway.chat();
    expect(gateway.worker.generations.at(-1)!.request.sampling).toMatchObject({ temperature: 1, stop: [] });
  });

  it.each([
    [{ temperature: 3 }, 'temperature'],
    [{ max_tokens: 0 }, 'max_tokens'],
    [{ messages: [] }, 'messages'],
    [{ messages: [{ role: 'user', content: 5 }] }, 'messages[0].content'],
    [{ messages: [{ role: 'bot', content: 'x' }] }, 'messages[0].role'],
    [{ messages: [1, 2, 3, 4].map(() => ({ role: 'user', content: 'x' })) }, 'messages'],
    [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
    [{ model: undefined }, 'model'],
    [{ stream_options: { include_usage: true } }, 'stream_options'],
    [{ n: 9 }, 'n'],
    [{ top_logprobs: 2 }, 'top_logprobs'],
    [{ logit_bias: { word: 1 } }, 'logit_bias.word'],
    [{ tool_choice: 'required' }, 'tool_choice'],
    [{ tools: [{ type: 'function', function: { name: 'f' } }], tool_choice: { type: 'function', function: { name: 'g' } } }, 'tool_choice'],
    [{ tools: [{ type: 'retrieval' }] }, 'tools[0].type'],
    [{ response_format: { type: 'xml' } }, 'response_format.type'],
    [{ messages: [{ role: 'assistant' }] }, 'messages[0].content'],
    [{ messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].tool_call_id'],
  ])('refuses %j and names the parameter', async (more, param) => {
    const response = await gateway.chat(more);
    expect([response.status, (await errorOf(response)).param]).toEqual([400, param]);
  });

  it('refuses parts that are no text as not supported', async () => {
    const response = await gateway.chat({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] });
    expect([response.status, (await errorOf(response)).code]).toEqual([400, 'unsupported_value']);
  });

  it('refuses unknown parameters as OpenAI does', async () => {
    const response = await gateway.chat({ frobnicate: 1 });
    expect(response.status).toBe(400);
    expect(await errorOf(response)).toEqual({ message: 'Unrecognized request argument supplied: frobnicate', type: 'invalid_request_error', param: null, code: null });
    expect((await errorOf(await gateway.chat({ a: 1, b: 2 }))).message).toBe('Unrecognized request arguments supplied: a, b');
  });

  it('answers an unknown model with 404 and its code', async () => {
    const response = await gateway.chat({ model: 'nope' });
    expect([response.status, await errorOf(response)]).toEqual([404, { message: expect.any(String), type: 'invalid_request_error', param: 'model', code: 'model_not_found' }]);
  });
});

describe('POST /v1/completions', () => {
  it('answers whole and with the default of 16 tokens', async () => {
    const response = await gateway.post('/v1/completions', { model: 'fake', prompt: 'Once' });
    expect(await response.json()).toMatchObject({ object: 'text_completion', choices: [{ text: 'Hello wörld', index: 0, logprobs: null, finish_reason: 'stop' }], usage: { total_tokens: 11 } });
    expect(gateway.worker.generations.at(-1)!.request).toMatchObject({ input: { case: 'prompt', value: 'Once' }, sampling: { maxTokens: 16 } });
  });

  it('streams its own chunks', async () => {
    const chunks = events(await (await gateway.post('/v1/completions', { model: 'fake', prompt: 'Once', stream: true })).text());
    expect(chunks.map((chunk) => (chunk as { choices?: { text: string }[] }).choices?.[0]?.text)).toEqual(['Hel', 'lo', ' wörld', '', undefined]);
  });

  it('answers several prompts, each n times, with the prompts of echo before them', async () => {
    const response = await gateway.post('/v1/completions', { model: 'fake', prompt: ['one', 'two'], n: 2, echo: true });
    const body = (await response.json()) as { choices: { index: number; text: string }[]; usage: object };
    expect(body.choices.map(({ index, text }) => [index, text])).toEqual([[0, 'oneHello wörld'], [1, 'oneHello wörld'], [2, 'twoHello wörld'], [3, 'twoHello wörld']]);
    expect(body.usage).toMatchObject({ prompt_tokens: 14, completion_tokens: 16, total_tokens: 30 });
  });

  it.each([[{ prompt: [1, 2] }, 'prompt'], [{ prompt: 'x', best_of: 1, n: 2 }, 'best_of'], [{ prompt: 'x', best_of: 2, stream: true }, 'best_of'], [{ prompt: 'x', echo: true, logprobs: 1 }, 'echo'], [{ prompt: Array(9).fill('x') }, 'prompt']])('refuses %j', async (more, param) => {
    const response = await gateway.post('/v1/completions', { model: 'fake', ...more });
    expect([response.status, (await errorOf(response)).param]).toEqual([400, param]);
  });
});

describe('other requests', () => {
  it('lists models and shows one, by its encoded name too', async () => {
    const list = (await (await gateway.get('/v1/models')).json()) as { data: object[] };
    expect(list).toMatchObject({ object: 'list', data: [{ id: 'fake', object: 'model', created: 1_700_000_000, owned_by: 'mlx-serving' }, { id: 'org/other' }] });
    expect(await (await gateway.get('/v1/models/org%2Fother')).json()).toEqual(list.data[1]);
    const missing = await gateway.get('/v1/models/none');
    expect([missing.status, (await errorOf(missing)).code]).toEqual([404, 'model_not_found']);
  });

  it('answers other paths with 404 and other methods with 405 and Allow', async () => {
    const unknown = await gateway.get('/v2/none');
    expect([unknown.status, (await errorOf(unknown)).message]).toEqual([404, 'Invalid URL (GET /v2/none)']);
    expect((await gateway.get('/metrics')).status).toBe(404);
    const wrong = await gateway.get('/v1/chat/completions');
    expect([wrong.status, wrong.headers.get('allow'), (await errorOf(wrong)).type]).toEqual([405, 'POST', 'invalid_request_error']);
  });

  it('refuses bodies that are no JSON object, of another type, or too large', async () => {
    expect((await gateway.post('/v1/chat/completions', '{"model":')).status).toBe(400);
    expect((await gateway.post('/v1/chat/completions', '[]')).status).toBe(400);
    expect((await errorOf(await gateway.post('/v1/chat/completions', `{"metadata":${'['.repeat(70)}${']'.repeat(70)}}`))).message).toContain('levels');
    expect((await gateway.post('/v1/chat/completions', '{}', { headers: { 'content-type': 'text/plain' } })).status).toBe(415);
    const large = await gateway.post('/v1/chat/completions', { model: 'x'.repeat(5_000) });
    expect([large.status, large.headers.get('connection')]).toEqual([413, 'close']);
  });

  it('tells a client whether a flag is on, and nothing else', async () => {
    expect(await (await gateway.get('/api/flags/warm', { 'x-user-id': 'u' })).json()).toEqual({ enabled: true });
    expect(await (await gateway.get('/api/flags/off?user=u')).json()).toEqual({ enabled: false });
    expect(await (await gateway.get('/api/flags/unknown')).json()).toEqual({ enabled: false });
    expect(await (await gateway.get('/api/flags?user=u&name=warm&name=off&name=warm')).json()).toEqual({ flags: { warm: true, off: false } });
    for (const query of ['', `?${'name=warm&'.repeat(2)}${Array.from({ length: 100 }, (_, index) => `name=f${index}`).join('&')}`]) {
      const refused = await gateway.get(`/api/flags${query}`);
      expect([refused.status, ((await refused.json()) as { error: { param: string } }).error.param]).toEqual([400, 'name']);
    }
  });

  it('counts requests by route and status', async () => {
    expect(await gateway.metric('mlx_serving_gateway_requests_total{route="chat",status="404"}')).toBe('1');
  });
});

describe('the official OpenAI client', () => {
  const client = (): OpenAI => new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'none', maxRetries: 0, fetch: globalThis.fetch });

  it('chats, streams, completes, lists models and reads errors', async () => {
    const openai = client();
    const messages = [{ role: 'user' as const, content: 'Hello' }];
    const answer = await openai.chat.completions.create({ model: 'fake', messages });
    expect(answer.choices[0]?.message.content).toBe('Hello wörld');
    let text = '';
    for await (const chunk of await openai.chat.completions.create({ model: 'fake', messages, stream: true })) text += chunk.choices[0]?.delta.content ?? '';
    expect(text).toBe('Hello wörld');
    expect((await openai.completions.create({ model: 'fake', prompt: 'x' })).choices[0]?.text).toBe('Hello wörld');
    expect((await openai.models.list()).data.map((model) => model.id)).toEqual(['fake', 'org/other']);
    await expect(openai.models.retrieve('nope')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
    await expect(openai.chat.completions.create({ model: 'fake', messages, n: 200 })).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    const second = await openai.chat.completions.create({ model: 'fake', messages: [...messages, answer.choices[0]!.message, ...messages] });
    expect(second.choices[0]?.finish_reason).toBe('stop');
  });
});
