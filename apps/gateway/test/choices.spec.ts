import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { FinishReason } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import { FakeWorker, until } from '@mlx-serving/testing';
import { errorOf, events, Harness } from './gateway-harness.ts';

const gateway = new Harness({ worker: new FakeWorker() });
beforeAll(() => gateway.start());
afterAll(() => gateway.stop());
beforeEach(() => {
  gateway.worker.script = ['{"city":', '"Bern"}'];
  gateway.worker.generations.length = 0;
});

interface Chunk {
  choices: { index: number; delta: { content?: string; role?: string; tool_calls?: { index: number; id?: string; function: { name?: string; arguments: string } }[] }; finish_reason: string | null; logprobs: unknown }[];
  usage?: object | null;
}

const weather = { type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } };
const streamed = async (more: object): Promise<Chunk[]> => events(await (await gateway.chat({ stream: true, ...more })).text()).filter((event) => event !== '[DONE]') as Chunk[];

describe('n answers', () => {
  it('are n generations with seeds of their own, under one decision and with one prompt in the usage', async () => {
    const body = (await (await gateway.chat({ n: 3, seed: 7 }, { headers: { 'x-request-id': 'many' } })).json()) as { choices: { index: number; message: { content: string } }[]; usage: object };
    expect(body.choices.map(({ index, message }) => [index, message.content])).toEqual([0, 1, 2].map((index) => [index, '{"city":"Bern"}']));
    expect(body.usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 6, total_tokens: 13 });
    const requests = gateway.worker.generations.map(({ request }) => request);
    expect(requests.map(({ requestId, sampling }) => [requestId, sampling?.seed]).sort()).toEqual([['many', 7n], ['many/1', 8n], ['many/2', 9n]]);
  });

  it('are streamed each with its index, its role and its end, before one usage', async () => {
    const chunks = await streamed({ n: 2, stream_options: { include_usage: true } });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 4 } });
    for (const index of [0, 1]) {
      const own = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
      expect([own[0]?.delta.role, own.map(({ delta }) => delta.content ?? '').join(''), own.at(-1)?.finish_reason]).toEqual(['assistant', '{"city":"Bern"}', 'stop']);
    }
  });

  it('end together when one of them fails, and when the client goes', async () => {
    gateway.worker.script = undefined;
    const answer = gateway.chat({ n: 2 });
    const [one, two] = [await gateway.worker.generation(0), await gateway.worker.generation(1)];
    one.fail(new ServiceError('INTERNAL', 'STEP_FAILED', 'the model failed'));
    expect((await errorOf(await answer)).code).toBe('step_failed');
    await until(() => two.cancelled);
    const abort = new AbortController();
    const gone = gateway.chat({ n: 2 }, { signal: abort.signal }).catch(() => undefined);
    const others = [await gateway.worker.generation(2), await gateway.worker.generation(3)];
    abort.abort();
    await until(() => others.every(({ cancelled }) => cancelled));
    await gone;
  });
});

describe('tools', () => {
  it('that are forced bind the answer to their schema, whole and streamed bit by bit', async () => {
    const forced = { tools: [weather], tool_choice: { type: 'function', function: { name: 'weather' } } };
    const body = (await (await gateway.chat(forced)).json()) as { choices: object[] };
    expect(body.choices[0]).toMatchObject({ message: { content: null, tool_calls: [{ id: expect.stringMatching(/^call_/), type: 'function', function: { name: 'weather', arguments: '{"city":"Bern"}' } }] }, finish_reason: 'stop' });
    const { request } = gateway.worker.generations[0]!;
    expect(JSON.parse(request.sampling!.jsonSchema)).toEqual(weather.function.parameters);
    expect(request.input.case === 'conversation' && JSON.parse(request.input.value.toolsJson[0]!)).toEqual(weather);
    const calls = (await streamed({ tools: [weather], tool_choice: 'required' })).flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? []);
    expect(calls[0]).toMatchObject({ index: 0, id: expect.any(String), type: 'function', function: { name: 'weather', arguments: '' } });
    expect(calls.slice(1).map((call) => call.function.arguments)).toEqual(['{"city":', '"Bern"}']);
  });

  it('among which the model chooses are read from its text', async () => {
    gateway.worker.script = ['{"name":"ti', 'me","arguments":{"zone"', ':"CET"}', '}'];
    const choice = { tools: [weather, { type: 'function', function: { name: 'time' } }], tool_choice: 'required' };
    const chunks = (await streamed(choice)).flatMap(({ choices }) => choices);
    const calls = chunks.flatMap(({ delta }) => delta.tool_calls ?? []);
    expect([calls[0]?.function.name, calls.map((call) => call.function.arguments).join(''), chunks.at(-1)?.finish_reason]).toEqual(['time', '{"zone":"CET"}', 'tool_calls']);
    const body = (await (await gateway.chat(choice)).json()) as { choices: { message: { tool_calls: { function: object }[] } }[] };
    expect(body.choices[0]?.message.tool_calls[0]?.function).toEqual({ name: 'time', arguments: '{"zone":"CET"}' });
  });

  it('that the model calls of itself come with its end; one of them when calls are not parallel', async () => {
    gateway.worker.script = undefined;
    const calls = ['a', 'b'].map((id) => ({ id, name: 'weather', argumentsJson: '{}' }));
    const run = async (more: object, number: number) => {
      const answer = gateway.chat({ tools: [weather], ...more });
      (await gateway.worker.generation(number)).accept().finish(FinishReason.TOOL_CALLS, calls);
      return ((await (await answer).json()) as { choices: { message: { content: null; tool_calls: { id: string }[] }; finish_reason: string }[] }).choices[0]!;
    };
    const both = await run({}, 0);
    expect([both.message.content, both.message.tool_calls.map(({ id }) => id), both.finish_reason]).toEqual([null, ['a', 'b'], 'tool_calls']);
    expect((await run({ parallel_tool_calls: false }, 1)).message.tool_calls.map(({ id }) => id)).toEqual(['a']);
  });

  it('and their answers go back to the model with the conversation', async () => {
    const call = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{}' } };
    await gateway.chat({ messages: [{ role: 'user', content: 'x' }, { role: 'assistant', content: null, tool_calls: [call] }, { role: 'tool', tool_call_id: 'call_1', content: '20 °C' }] });
    expect(gateway.worker.generations[0]!.request.input.value).toMatchObject({
      messages: [{ role: 'user' }, { role: 'assistant', content: '', toolCalls: [{ id: 'call_1', name: 'weather', argumentsJson: '{}' }] }, { role: 'tool', content: '20 °C', toolCallId: 'call_1' }],
    });
  });
});

describe('sampling', () => {
  it('goes to the worker as it was asked for', async () => {
    await gateway.chat({ presence_penalty: 0.5, frequency_penalty: -1, logit_bias: { '5': -100 }, top_k: 3, min_p: 0.25, repetition_penalty: 1.5, logprobs: true, top_logprobs: 2, response_format: { type: 'json_object' } });
    expect(gateway.worker.generations[0]!.request.sampling).toMatchObject({ presencePenalty: 0.5, frequencyPenalty: -1, logitBias: { 5: -100 }, topK: 3, minP: 0.25, repetitionPenalty: 1.5, topLogprobs: 2, jsonSchema: '{"type":"object"}' });
  });

  it('shows log probabilities in the form of each endpoint', async () => {
    gateway.worker.script = undefined;
    const token = { id: 1, text: 'é', logprob: -0.5, topLogprobs: [{ id: 1, text: 'é', logprob: -0.5 }, { id: 2, text: 'e', logprob: -1 }] };
    const run = async (path: string, body: object, number: number) => {
      const answer = gateway.post(path, { model: 'fake', ...body });
      (await gateway.worker.generation(number)).accept().likelyTokens(token).finish();
      return (await (await answer).json()) as { choices: { logprobs: unknown }[] };
    };
    const chat = await run('/v1/chat/completions', { messages: [{ role: 'user', content: 'x' }], logprobs: true, top_logprobs: 1 }, 0);
    expect(chat.choices[0]?.logprobs).toEqual({ content: [{ token: 'é', logprob: -0.5, bytes: [195, 169], top_logprobs: [{ token: 'é', logprob: -0.5, bytes: [195, 169] }] }], refusal: null });
    const text = await run('/v1/completions', { prompt: 'x', logprobs: 2 }, 1);
    expect(text.choices[0]?.logprobs).toEqual({ tokens: ['é'], token_logprobs: [-0.5], top_logprobs: [{ é: -0.5, e: -1 }], text_offset: [0] });
  });

  it('keeps the best of several answers', async () => {
    gateway.worker.script = undefined;
    const answer = gateway.post('/v1/completions', { model: 'fake', prompt: 'x', best_of: 2 });
    const [one, two] = [await gateway.worker.generation(0), await gateway.worker.generation(1)];
    one.accept().likelyTokens({ id: 1, text: 'worse', logprob: -3 }).finish();
    two.accept().likelyTokens({ id: 2, text: 'better', logprob: -1 }).finish();
    expect(await (await answer).json()).toMatchObject({ choices: [{ index: 0, text: 'better', logprobs: null }], usage: { completion_tokens: 2 } });
  });
});

describe('POST /v1/responses', () => {
  it('answers with a message, and takes the conversation from items', async () => {
    const input = [{ role: 'user', content: [{ type: 'input_text', text: 'Hi' }] }, { type: 'function_call', call_id: 'c', name: 'weather', arguments: '{}' }, { type: 'function_call_output', call_id: 'c', output: '20' }];
    const response = await gateway.post('/v1/responses', { model: 'fake', instructions: 'Brief.', input, max_output_tokens: 5 });
    expect(await response.json()).toMatchObject({
      id: expect.stringMatching(/^resp_/), object: 'response', status: 'completed', incomplete_details: null,
      output: [{ type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: '{"city":"Bern"}' }] }],
      usage: { input_tokens: 7, output_tokens: 2, total_tokens: 9 },
    });
    expect(gateway.worker.generations[0]!.request).toMatchObject({
      input: { value: { messages: [{ role: 'system', content: 'Brief.' }, { role: 'user', content: 'Hi' }, { role: 'assistant', toolCalls: [{ id: 'c' }] }, { role: 'tool', content: '20', toolCallId: 'c' }] } },
      sampling: { maxTokens: 5 },
    });
  });

  it('shows the model of a function what it must know, and takes what changes nothing', async () => {
    const tool = { type: 'function', name: 'weather', strict: false, async: false, defer_loading: false, allowed_callers: ['direct'], output_schema: null };
    expect((await gateway.post('/v1/responses', { model: 'fake', input: 'Hi', tools: [tool] })).status).toBe(200);
    const { input } = gateway.worker.generations[0]!.request;
    expect(input.case === 'conversation' && input.value.toolsJson.map((text) => JSON.parse(text) as unknown)).toEqual([{ type: 'function', function: { name: 'weather', strict: false } }]);
    const refused = await gateway.post('/v1/responses', { model: 'fake', input: 'Hi', tools: [{ ...tool, async: true }] });
    expect([refused.status, (await errorOf(refused)).param]).toEqual([400, 'tools[0].async']);
  });

  it('streams typed and numbered events, and says when the answer was cut', async () => {
    const read = async (more: object) => {
      const text = await (await gateway.post('/v1/responses', { model: 'fake', input: 'Hi', stream: true, ...more })).text();
      return text.split('\n\n').filter(Boolean).map((event) => JSON.parse(event.split('\ndata: ')[1]!) as { type: string; sequence_number: number; delta?: string; response?: object });
    };
    const message = await read({});
    expect(message.map(({ type }) => type.replace('response.', ''))).toEqual([
      'created', 'in_progress', 'output_item.added', 'content_part.added', 'output_text.delta', 'output_text.delta', 'output_text.done', 'content_part.done', 'output_item.done', 'completed',
    ]);
    expect(message.map(({ sequence_number }) => sequence_number)).toEqual(message.map((_, index) => index));
    expect(message.at(-1)?.response).toMatchObject({ output: [{ content: [{ text: '{"city":"Bern"}' }] }], usage: { total_tokens: 9 } });
    const call = await read({ tools: [{ type: 'function', name: 'weather', parameters: weather.function.parameters }], tool_choice: 'required' });
    expect(call.filter(({ type }) => type.endsWith('arguments.delta')).map(({ delta }) => delta).join('')).toBe('{"city":"Bern"}');
    expect(call.at(-1)?.response).toMatchObject({ output: [{ type: 'function_call', name: 'weather', arguments: '{"city":"Bern"}', status: 'completed' }] });
  });
});

describe('a stream that fails behind its head', () => {
  it.each([['/v1/chat/completions', { messages: [{ role: 'user', content: 'x' }] }, '"error":{'], ['/v1/responses', { input: 'x' }, 'event: error']])('says so in an event and has no [DONE]: %s', async (path, body, mark) => {
    gateway.worker.script = undefined;
    const answer = gateway.post(path, { model: 'fake', stream: true, ...body });
    const generation = (await gateway.worker.generation(0)).accept();
    generation.tokens('a');
    const response = await answer;
    generation.fail(new ServiceError('INTERNAL', 'STEP_FAILED', 'the model failed'));
    const text = await response.text();
    expect([response.status, text.includes(mark), text.includes('[DONE]')]).toEqual([200, true, false]);
  });
});
