import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import OpenAI from 'openai';
import { admin, output, pythonInterpreter } from './clients.ts';
import { eventually } from './eventually.ts';
import { root, Stack, stopAll } from './stack.ts';

/** One row of docs/api.md, as a request. */
interface Case {
  readonly endpoint: string;
  readonly name: string;
  readonly support: string;
  readonly body: Record<string, unknown>;
  readonly whole: boolean;
  readonly streams: boolean;
}

interface Outcome {
  readonly whole?: string | null;
  readonly streamed?: string | null;
  readonly error?: string;
  /** Of an error: its status, code and parameter. */
  readonly refusal?: readonly [number, string | null, string | null];
}

const least: Record<string, Record<string, unknown>> = {
  '/v1/chat/completions': { messages: [{ role: 'user', content: 'Explain the canary.' }], max_tokens: 8 },
  '/v1/completions': { prompt: 'A kill switch', max_tokens: 8 },
  '/v1/responses': { input: 'Explain the canary.', max_output_tokens: 8 },
};

/** The rows of docs/api.md. */
function readCases(): Case[] {
  const sections = readFileSync(join(root, 'docs', 'api.md'), 'utf8').split('\n## POST ').slice(1);
  return sections.flatMap((section) => {
    const endpoint = section.slice(0, section.indexOf('\n'));
    return [...section.matchAll(/^\| `(\w+)` \| (\w+) \| `(.*?)` \|/gm)].map(([, name = '', support = '', json = '']): Case => {
      const example = JSON.parse(json.replaceAll('\\|', '|')) as Record<string, unknown>;
      const onlyStreams = name === 'stream' || name === 'stream_options';
      const body = { ...least[endpoint], temperature: 0, ...example, model: 'tiny' };
      return { endpoint, name, support, body, whole: !onlyStreams || endpoint === '/v1/responses', streams: name !== 'best_of' };
    });
  });
}

const cases = readCases();
const taken = cases.filter(({ support }) => support !== 'refused');
const refused = cases.filter(({ support }) => support === 'refused');
let stack: Stack;
let openai: OpenAI;

beforeAll(async () => {
  stack = await Stack.start();
  openai = new OpenAI({ baseURL: `${stack.urls.gateway}/v1`, apiKey: 'unused', maxRetries: 0 });
});
afterAll(stopAll);

/** What both clients must have got. */
function expectTexts(outcomes: readonly Outcome[]): void {
  outcomes.forEach((outcome, index) => {
    const { endpoint, name, whole, streams } = taken[index]!;
    const row = `${endpoint} ${name}`;
    expect([row, outcome.error]).toEqual([row, undefined]);
    for (const text of [...(whole ? [outcome.whole] : []), ...(streams ? [outcome.streamed] : [])]) expect([row, typeof text, (text ?? '').length > 0]).toEqual([row, 'string', true]);
    // Greedy: the same text both ways.
    if (whole && streams && name !== 'temperature') expect([row, outcome.streamed]).toEqual([row, outcome.whole]);
  });
}

describe('every parameter of docs/api.md that is taken', () => {
  it('has rows of all three endpoints', () => {
    expect(new Set(cases.map(({ endpoint }) => endpoint)).size).toBe(3);
    expect(taken.length).toBeGreaterThan(50);
  });

  it("works with OpenAI's JavaScript client, at once and streamed", async () => {
    const outcomes: Outcome[] = [];
    for (let i = 0; i < taken.length; i += 4) outcomes.push(...(await Promise.all(taken.slice(i, i + 4).map(ask))));
    expectTexts(outcomes);
  });

  it("works with OpenAI's Python client, at once and streamed", async () => {
    expectTexts(await askPython(taken));
  });

  it('holds an answer to its schema and a forced call to its arguments', async () => {
    const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'], additionalProperties: false };
    const messages = [{ role: 'user' as const, content: 'Is it well?' }];
    const json = await openai.chat.completions.create({ model: 'tiny', messages, response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } } });
    expect(JSON.parse(json.choices[0]?.message.content ?? '')).toEqual({ ok: expect.any(Boolean) });
    const call = await openai.chat.completions.create({ model: 'tiny', messages, tools: [{ type: 'function', function: { name: 'report', parameters: schema } }], tool_choice: 'required' });
    const [made] = call.choices[0]?.message.tool_calls ?? [];
    expect([call.choices[0]?.finish_reason, made?.type === 'function' && JSON.parse(made.function.arguments)]).toEqual(['tool_calls', { ok: expect.any(Boolean) }]);
  });
});

describe('every parameter of docs/api.md that is refused', () => {
  it.each([["JavaScript client", () => Promise.all(refused.map(ask))], ['Python client', () => askPython(refused)]])("is refused by name to OpenAI's %s", async (_, outcomesOf) => {
    const outcomes = await outcomesOf();
    expect(outcomes.map(({ refusal }, index) => [refused[index]!.name, refusal?.[0], refusal?.[1], refusal?.[2]?.split(/[.[]/)[0]])).toEqual(refused.map(({ name }) => [name, 400, 'unsupported_value', name]));
  });
});

describe('an explanation', () => {
  it('says to an operator what would be decided and why, and runs nothing; to others it is refused', async () => {
    const ask = (token: string) =>
      openai.chat.completions.create({ model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], user: 'ada' }, { headers: { 'x-mlx-serving-explain': '1', 'x-mlx-serving-operator-token': token } });
    expect(await ask(stack.token)).toMatchObject({ decision: { variant: 'baseline' }, flags: { ttft_pipeline: { enabled: true, steps: expect.any(Array) } } });
    const { secret } = await admin<{ secret: string }>(stack, 'POST', '/admin/tokens', { name: 'reader', role: 'viewer' });
    for (const token of ['guessed', secret]) await expect(ask(token)).rejects.toMatchObject({ status: 403, code: 'operator_only' });
  });
});

describe('an API key', () => {
  it('limits its caller, is counted, and is refused everywhere once it is revoked', async () => {
    const { key, secret } = await admin<{ key: { id: string }; secret: string }>(stack, 'POST', '/admin/keys', { name: 'search', requests_per_minute: 2 });
    const client = new OpenAI({ baseURL: `${stack.urls.gateway}/v1`, apiKey: secret, maxRetries: 0 });
    const ask = () => client.chat.completions.create({ model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 2 });
    await eventually(ask);
    await ask();
    await expect(ask()).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    await eventually(async () => {
      const [state] = await admin<{ balance: { tokensToday: number } }[]>(stack, 'GET', '/admin/keys');
      return state!.balance.tokensToday > 0;
    });
    await admin(stack, 'DELETE', `/admin/keys/${key.id}`);
    await eventually(async () => {
      await expect(client.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
    });
    const asked = await fetch(`${stack.urls.gateway}/api/flags/ttft_pipeline`, { headers: { authorization: `Bearer ${secret}` } });
    expect([asked.status, await asked.text()]).toEqual([401, expect.not.stringContaining('enabled')]);
  });
});

async function ask({ endpoint, body, whole, streams }: Case): Promise<Outcome> {
  try {
    const answer = whole ? textOf(await create(endpoint, { ...body, stream: false })) : null;
    if (!streams) return { whole: answer };
    let streamed = '';
    for await (const chunk of (await create(endpoint, { ...body, stream: true })) as AsyncIterable<unknown>) streamed += deltaOf(chunk);
    return { whole: answer, streamed };
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) return { error: String(error) };
    return { error: String(error), refusal: [Number(error.status), error.code ?? null, error.param ?? null] };
  }
}

function create(endpoint: string, body: Record<string, unknown>): Promise<unknown> {
  const resource = endpoint === '/v1/responses' ? openai.responses : endpoint === '/v1/completions' ? openai.completions : openai.chat.completions;
  return (resource.create as (body: unknown) => Promise<unknown>).call(resource, body);
}

async function askPython(asked: readonly Case[]): Promise<Outcome[]> {
  const script = join(root, 'e2e', 'python', 'openai_matrix.py');
  return JSON.parse(await output([pythonInterpreter(), script, `${stack.urls.gateway}/v1`], JSON.stringify(asked))) as Outcome[];
}

interface Choice {
  readonly index: number;
  readonly text?: string;
  readonly message?: { readonly content: string | null; readonly tool_calls?: readonly Call[] };
  readonly delta?: { readonly content?: string | null; readonly tool_calls?: readonly Call[] };
}

interface Call {
  readonly function: { readonly arguments?: string };
}

/** The text or the call of the first answer. */
function textOf(answer: unknown): string {
  const { choices, output: items } = answer as { choices?: Choice[]; output?: { type: string; arguments?: string; content?: { text: string }[] }[] };
  if (items) return items.map((item) => item.arguments ?? item.content?.[0]?.text ?? '').join('');
  const [first] = choices ?? [];
  return first?.text ?? joined(first?.message);
}

function deltaOf(chunk: unknown): string {
  const { choices, type, delta } = chunk as { choices?: Choice[]; type?: string; delta?: string };
  if (type !== undefined) return /\.(output_text|function_call_arguments)\.delta$/.test(type) ? (delta ?? '') : '';
  const first = choices?.find(({ index }) => index === 0);
  return first?.text ?? joined(first?.delta);
}

function joined(part: { content?: string | null; tool_calls?: readonly Call[] } | undefined): string {
  return (part?.content ?? '') + (part?.tool_calls ?? []).map((call) => call.function.arguments ?? '').join('');
}
