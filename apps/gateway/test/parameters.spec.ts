import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { FakeWorker } from '@mlx-serving/testing';
import { chatTable } from '../src/chat/chat-parameters.ts';
import { completionTable } from '../src/completions/completion-parameters.ts';
import type { ParameterTable } from '../src/openai/parameter.ts';
import { responseTable } from '../src/responses/response-parameters.ts';
import { errorOf, Harness } from './gateway-harness.ts';

const gateway = new Harness({ worker: new FakeWorker({ script: ['{"city":', '"Bern"}'] }) });

beforeAll(() => gateway.start());
afterAll(() => gateway.stop());

const endpoints: [path: string, table: ParameterTable, least: Record<string, unknown>][] = [
  ['/v1/chat/completions', chatTable, { model: 'fake', messages: [{ role: 'user', content: 'Hello' }] }],
  ['/v1/completions', completionTable, { model: 'fake', prompt: 'Once' }],
  ['/v1/responses', responseTable, { model: 'fake', input: 'Hello' }],
];

describe.each(endpoints)('%s', (path, table, least) => {
  it.each(Object.entries(table).map(([name, { support }]) => [name, support] as const))('has %s as the table says: %s', async (name, support) => {
    const { example, beside } = table[name]!;
    const response = await gateway.post(path, { ...least, ...beside, [name]: example });
    if (support !== 'refused') return expect([response.status, await response.text()]).toEqual([200, expect.any(String)]);
    expect(response.status).toBe(400);
    expect(await errorOf(response)).toMatchObject({ type: 'invalid_request_error', param: expect.stringMatching(new RegExp(`^${name}`)), code: 'unsupported_value' });
  });

  it.each(Object.entries(table).filter(([, { support }]) => support !== 'supported').map(([name]) => name))('takes %s without a value', async (name) => {
    expect((await gateway.post(path, { ...least, [name]: null })).status).toBe(200);
  });

  it('refuses what is in no table', async () => {
    const response = await gateway.post(path, { ...least, frobnicate: 1 });
    expect([response.status, (await errorOf(response)).message]).toEqual([400, 'Unrecognized request argument supplied: frobnicate']);
  });
});

describe("OpenAI's client", () => {
  it.each([
    ['chat/completions/completions.d.ts', 'ChatCompletionCreateParamsBase', chatTable],
    ['completions.d.ts', 'CompletionCreateParamsBase', completionTable],
    ['responses/responses.d.ts', 'ResponseCreateParamsBase', responseTable],
  ])('knows no parameter of %s that the table does not name', async (file, name, table) => {
    const types = await readFile(new URL(`resources/${file}`, import.meta.resolve('openai')), 'utf8');
    const [, body = ''] = types.split(`export interface ${name} {`);
    const known = [...body.slice(0, body.indexOf('\n}')).matchAll(/^ {4}(\w+)\??:/gm)].map(([, parameter]) => parameter!);
    expect(known.length).toBeGreaterThan(15);
    expect(known.filter((parameter) => !(parameter in table))).toEqual([]);
  });
});
