import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import OpenAI from 'openai';
import { Stack, stopAll } from './stack.ts';

type Body = Partial<OpenAI.ChatCompletionCreateParamsNonStreaming> & Record<string, unknown>;

/** The tiny model's end of an answer. */
const END = '0';
const TOKENS = 24;
const messages = [{ role: 'user' as const, content: 'Explain the canary.' }];

let stack: Stack;
let openai: OpenAI;
let greedy: string;

beforeAll(async () => {
  stack = await Stack.start();
  openai = new OpenAI({ baseURL: `${stack.urls.gateway}/v1`, apiKey: 'unused', maxRetries: 0 });
  greedy = await textOf({});
});
afterAll(stopAll);

const chat = (body: Body): Promise<OpenAI.ChatCompletion> => openai.chat.completions.create({ model: 'tiny', temperature: 0, max_tokens: TOKENS, messages, ...body });

async function textOf(body: Body): Promise<string> {
  return (await chat(body)).choices[0]?.message.content ?? '';
}

async function chunksOf(body: Body): Promise<OpenAI.ChatCompletionChunk[]> {
  const chunks = [];
  for await (const chunk of await openai.chat.completions.create({ model: 'tiny', temperature: 0, max_tokens: TOKENS, messages, ...body, stream: true })) chunks.push(chunk);
  return chunks;
}

describe('a supported parameter has its effect:', () => {
  it('max_tokens and max_completion_tokens end the answer', async () => {
    for (const most of [{ max_tokens: 3 }, { max_completion_tokens: 3 }]) {
      const { choices, usage } = await chat(most);
      expect([choices[0]?.finish_reason, usage?.completion_tokens, usage!.prompt_tokens + 3]).toEqual(['length', 3, usage?.total_tokens]);
    }
  });

  it('n gives so many answers, at once and streamed, and the prompt counts once', async () => {
    const [one, three] = await Promise.all([chat({}), chat({ n: 3 })]);
    expect(three.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(three.usage).toMatchObject({ prompt_tokens: one.usage?.prompt_tokens, completion_tokens: 3 * one.usage!.completion_tokens });
    expect(new Set((await chunksOf({ n: 3 })).flatMap(({ choices }) => choices.map(({ index }) => index)))).toEqual(new Set([0, 1, 2]));
  });

  it('stop ends the answer before it', async () => {
    const word = greedy.split(' ')[3]!;
    const { choices } = await chat({ stop: word });
    expect([choices[0]?.finish_reason, choices[0]?.message.content]).toEqual(['stop', greedy.slice(0, greedy.indexOf(word))]);
  });

  it('seed repeats the draw, and another seed is another one', async () => {
    const drawn = (seed: number): Promise<string> => textOf({ temperature: 1.5, seed });
    const texts = await Promise.all([1, 2, 3, 1].map(drawn));
    expect(texts[0]).toBe(texts[3]);
    expect(new Set(texts).size).toBeGreaterThan(1);
  });

  it('temperature, top_p, top_k and min_p narrow the draw down to the likeliest token', async () => {
    for (const narrow of [{ top_p: 0 }, { top_k: 1 }, { min_p: 1 }]) expect([narrow, await textOf({ temperature: 2, ...narrow })]).toEqual([narrow, greedy]);
    expect(new Set(await Promise.all([1, 2, 3].map((seed) => textOf({ temperature: 2, seed })))).size).toBeGreaterThan(1);
  });

  it('logit_bias forces a token and bans one', async () => {
    const ended = await chat({ logit_bias: { [END]: 100 } });
    expect([ended.choices[0]?.finish_reason, ended.choices[0]?.message.content]).toEqual(['stop', '']);
    expect((await chat({ max_tokens: 200, logit_bias: { [END]: -100 } })).choices[0]?.finish_reason).toBe('length');
  });

  it('penalties change what is repeated', async () => {
    const free = { max_tokens: 80, logit_bias: { [END]: -100 } };
    const plain = await textOf(free);
    for (const penalty of [{ presence_penalty: 2 }, { frequency_penalty: 2 }, { repetition_penalty: 10 }]) expect([penalty, (await textOf({ ...free, ...penalty })) === plain]).toEqual([penalty, false]);
  });

  it('logprobs and top_logprobs show every token, the greedy one as the likeliest', async () => {
    const { choices, usage } = await chat({ logprobs: true, top_logprobs: 2 });
    const shown = choices[0]?.logprobs?.content ?? [];
    expect(shown.length).toBe(usage?.completion_tokens);
    expect(shown.every(({ token, logprob, top_logprobs }) => logprob <= 0 && top_logprobs.length === 2 && top_logprobs[0]?.token === token)).toBe(true);
    const streamed = (await chunksOf({ logprobs: true, top_logprobs: 2 })).flatMap((chunk) => chunk.choices[0]?.logprobs?.content ?? []);
    expect(streamed.map(({ token }) => token)).toEqual(shown.map(({ token }) => token));
  });

  it('stream_options has the usage come last, with no choices', async () => {
    const [whole, chunks] = await Promise.all([chat({}), chunksOf({ stream_options: { include_usage: true } })]);
    const last = chunks.pop();
    expect([last?.choices, last?.usage?.total_tokens]).toEqual([[], whole.usage?.total_tokens]);
    expect(chunks.every(({ usage }) => usage === null)).toBe(true);
    expect((await chunksOf({})).some(({ usage }) => usage != null)).toBe(false);
  });

  it('user has its own variant and flags each time', async () => {
    const stamp = async (): Promise<(string | null)[]> => {
      const { response } = await openai.chat.completions.create({ model: 'tiny', max_tokens: 1, messages, user: 'ada' }).withResponse();
      return ['variant', 'flags', 'revision'].map((name) => response.headers.get(`x-mlx-serving-${name}`));
    };
    expect(await stamp()).toEqual(await stamp());
  });

  it('echo puts the prompt first, and best_of keeps the best', async () => {
    const prompt = 'A kill switch';
    const asked = { model: 'tiny', prompt, max_tokens: 8, temperature: 0 };
    const [plain, echoed] = await Promise.all([openai.completions.create(asked), openai.completions.create({ ...asked, echo: true })]);
    expect(echoed.choices[0]?.text).toBe(prompt + plain.choices[0]!.text);
    const best = await openai.completions.create({ ...asked, temperature: 1, best_of: 3, n: 2 });
    expect([best.choices.length, best.usage!.completion_tokens > 8]).toEqual([2, true]);
  });
});

describe("the helpers of OpenAI's client", () => {
  it('gather a streamed chat into the whole one', async () => {
    const final = await openai.chat.completions.stream({ model: 'tiny', temperature: 0, max_tokens: TOKENS, messages }).finalChatCompletion();
    expect(final.choices[0]?.message.content).toBe(greedy);
  });

  it('follow the events of a response to its end, and take its items back as the next input', async () => {
    const asked = { model: 'tiny', temperature: 0, max_output_tokens: TOKENS };
    const final = await openai.responses.stream({ ...asked, input: messages }).finalResponse();
    const whole = await openai.responses.create({ ...asked, input: messages });
    expect([final.output_text, final.status, final.usage]).toEqual([whole.output_text, whole.status, whole.usage]);
    const next = await openai.responses.create({ ...asked, input: [...messages, ...(whole.output as OpenAI.Responses.ResponseInputItem[]), { role: 'user', content: 'And then?' }] });
    expect(next.usage!.input_tokens).toBeGreaterThan(whole.usage!.input_tokens);
    const instructed = await openai.responses.create({ ...asked, instructions: 'Be brief.', input: messages });
    expect(instructed.usage!.input_tokens).toBeGreaterThan(whole.usage!.input_tokens);
  });

  it('parse an answer that is held to a schema, and run a tool to its answer', async () => {
    const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'], additionalProperties: false };
    const parsed = await openai.chat.completions.parse({ model: 'tiny', messages, response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } } });
    expect(JSON.parse(parsed.choices[0]?.message.content ?? '')).toEqual({ ok: expect.any(Boolean) });
    const called: unknown[] = [];
    const runner = openai.chat.completions.runTools(
      { model: 'tiny', messages, max_tokens: 40, tool_choice: 'required', tools: [{ type: 'function', function: { name: 'report', description: 'Reports.', parameters: schema, parse: JSON.parse, function: (given: unknown) => (called.push(given), 'done') } }] },
      { maxChatCompletions: 1 },
    );
    await runner.done().catch(() => undefined);
    expect(called).toEqual([{ ok: expect.any(Boolean) }]);
  });
});
