import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Metadata } from '@grpc/grpc-js';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type ApiKeySchema, createServiceClient, type GenerateResponse, Inference, Priority } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import { FakeWorker, until } from '@mlx-serving/testing';
import { errorOf, Harness } from './gateway-harness.ts';

const open = new Harness({ worker: new FakeWorker({ script: ['one', 'two'] }) });
const closed = new Harness({ worker: new FakeWorker({ script: ['one', 'two'] }), keys: 'required' });
const secret = `mlxk_0123456789ab_${'s'.repeat(43)}`;
const bearer = { authorization: `Bearer ${secret}` };

/** Sends the one key with these limits, and waits until it holds. */
async function hold(gateway: Harness, limits: MessageInitShape<typeof ApiKeySchema>): Promise<void> {
  const key = { id: `k${Math.random()}`, name: 'search', tenant: 'team-a', priority: Priority.BATCH, secretHash: createHash('sha256').update(secret).digest('hex'), ...limits };
  gateway.flags.send({ case: 'apiKeys', value: { keys: [key] } });
  await until(async () => (await gateway.get('/v1/models', bearer)).status === 200);
}

beforeAll(() => Promise.all([open.start(), closed.start()]));
afterAll(() => Promise.all([open.stop(), closed.stop()]));
beforeEach(() => {
  for (const gateway of [open, closed]) gateway.worker.generations.length = 0;
});

describe('a gateway on loopback', () => {
  it('serves without a key and with what clients send because they must, and refuses a key of ours that it does not know', async () => {
    expect((await open.chat()).status).toBe(200);
    expect((await open.chat({}, { headers: { authorization: 'Bearer unused' } })).status).toBe(200);
    const refused = await open.chat({}, { headers: { authorization: `Bearer mlxk_ffffffffffff_${'x'.repeat(43)}` } });
    expect([refused.status, await errorOf(refused)]).toEqual([401, { message: expect.stringContaining('mlxk_ffff…xx'), type: 'invalid_request_error', param: null, code: 'invalid_api_key' }]);
  });
});

describe('a gateway on more than loopback', () => {
  it('refuses every door without a key, unless it is said to be open', async () => {
    const worker = (): FakeWorker => new FakeWorker({ script: ['one'] });
    const [byItself, saidOpen] = [new Harness({ worker: worker(), host: '0.0.0.0' }), new Harness({ worker: worker(), host: '0.0.0.0', keys: 'open' })];
    try {
      await Promise.all([byItself.start(), saidOpen.start()]);
      expect([(await byItself.chat()).status, (await byItself.get('/v1/models')).status, (await saidOpen.chat()).status]).toEqual([401, 401, 200]);
      const client = createServiceClient(Inference, `127.0.0.1:${byItself.app.ports.grpc}`);
      await expect(client.addToAllowlist({ input: { case: 'prompt', value: 'x' } })).rejects.toMatchObject({ code: 16 });
      client.close();
    } finally {
      await Promise.all([byItself.stop(), saidOpen.stop()]);
    }
  });
});

describe('a gateway that needs keys', () => {
  it.each([['/v1/chat/completions', { model: 'fake', messages: [] }], ['/v1/completions', {}], ['/v1/responses', {}]])('refuses %s without one, before it looks at the body', async (path, body) => {
    expect((await closed.post(path, body)).status).toBe(401);
  });

  it.each([
    ['GET', '/api/flags/warm'],
    ['GET', '/api/flags?name=warm'],
    ['POST', '/ofrep/v1/evaluate/flags'],
    ['POST', '/ofrep/v1/evaluate/flags/warm'],
  ])('says nothing of the flags without one, and answers with one: %s %s', async (method, path) => {
    await hold(closed, {});
    const ask = (headers: Record<string, string> = {}) => fetch(closed.url + path, { method, headers: { 'content-type': 'application/json', ...headers }, ...(method === 'POST' ? { body: '{' } : {}) });
    const refused = await ask();
    expect([refused.status, await refused.text()]).toEqual([401, expect.not.stringContaining('warm')]);
    expect((await ask({ authorization: `Bearer mlxk_ffffffffffff_${'x'.repeat(43)}` })).status).toBe(401);
    // With a key the body is looked at.
    expect((await ask(bearer)).status).toBe(method === 'POST' ? 400 : 200);
  });

  it('refuses the models and the gRPC door without one', async () => {
    expect((await closed.get('/v1/models')).status).toBe(401);
    const client = createServiceClient(Inference, `127.0.0.1:${closed.app.ports.grpc}`);
    const call = client.generate({ model: 'fake', input: { case: 'prompt', value: 'x' } });
    const error = new Promise<Error>((resolve) => call.once('error', resolve));
    call.resume();
    expect(ServiceError.from(await error)).toMatchObject({ code: 'UNAUTHENTICATED', reason: 'API_KEY_MISSING' });
    client.close();
  });

  it('gives the worker the tenant and the class of the key; a request can only lower it', async () => {
    await hold(closed, { priority: Priority.NORMAL });
    await closed.chat({}, { headers: bearer });
    expect(closed.worker.generations[0]!.request).toMatchObject({ tenant: 'team-a', priority: Priority.NORMAL });
    await closed.chat({}, { headers: { ...bearer, 'x-mlx-serving-priority': 'interactive' } });
    await closed.chat({}, { headers: { ...bearer, 'x-mlx-serving-priority': 'background' } });
    expect(closed.worker.generations.slice(1).map(({ request }) => request.priority)).toEqual([Priority.NORMAL, Priority.BACKGROUND]);
    const wrong = await closed.chat({}, { headers: { ...bearer, 'x-mlx-serving-priority': 'urgent' } });
    expect([wrong.status, (await errorOf(wrong)).param]).toEqual([400, 'x-mlx-serving-priority']);
    // A word that every object knows is no class either.
    expect((await closed.chat({}, { headers: { ...bearer, 'x-mlx-serving-priority': 'constructor' } })).status).toBe(400);
  });

  it('refuses the key as soon as it is revoked', async () => {
    await hold(closed, {});
    closed.flags.send({ case: 'apiKeys', value: { keys: [] } });
    await until(async () => (await closed.chat({}, { headers: bearer })).status === 401);
  });

  it('limits requests, and says what is left and when to come again', async () => {
    await hold(closed, { requestsPerMinute: 2 });
    const first = await closed.chat({}, { headers: bearer });
    expect([first.headers.get('x-ratelimit-limit-requests'), first.headers.get('x-ratelimit-remaining-requests'), first.headers.get('x-ratelimit-reset-requests')]).toEqual(['2', '1', expect.stringMatching(/^\d+\.\d{3}s$/)]);
    await closed.chat({}, { headers: bearer });
    const third = await closed.chat({}, { headers: bearer });
    expect([third.status, Number(third.headers.get('retry-after')) > 0, await errorOf(third)]).toEqual([429, true, { message: expect.stringContaining('requests per min: Limit 2'), type: 'rate_limit_error', param: null, code: 'rate_limit_exceeded' }]);
    expect(closed.worker.generations).toHaveLength(2);
  });

  it('limits tokens by what was answered, and budgets of a day', async () => {
    await hold(closed, { tokensPerMinute: 9n });
    await closed.chat({}, { headers: bearer });
    expect((await closed.chat({}, { headers: bearer })).headers.get('x-ratelimit-remaining-tokens')).toBe('0');
    await hold(closed, { tokensPerDay: 9n });
    await closed.chat({}, { headers: bearer });
    const spent = await closed.chat({}, { headers: bearer });
    expect([spent.status, (await errorOf(spent)).code]).toEqual([429, 'insufficient_quota']);
  });

  it('sends up what was spent, and goes by what comes down', async () => {
    await hold(closed, { id: 'shared', requestsPerMinute: 100 });
    await closed.chat({}, { headers: bearer });
    const spentOf = () => closed.flags.all('apiKeyUsage').flatMap(({ spending }) => spending).filter(({ keyId }) => keyId === 'shared');
    const answerLast = (balances: { keyId: string; requestsLeft: number; tokensLeft: number }[]): void => {
      const last = closed.flags.all('apiKeyUsage').at(-1);
      if (last) closed.flags.send({ case: 'apiKeyBalances', value: { replicaId: 'gateway-test', batch: last.batch, gateways: 2, balances } });
    };
    await until(() => {
      answerLast([]);
      return spentOf().reduce((sum, { tokens }) => sum + Number(tokens), 0) === 9;
    });
    expect(spentOf().reduce((sum, { requests }) => sum + Number(requests), 0)).toBe(1);
    answerLast([{ keyId: 'shared', requestsLeft: -5, tokensLeft: 0 }]);
    await until(async () => (await closed.chat({}, { headers: bearer })).status === 429);
  });

  it('charges a prompt once for all answers to it, as the usage says', async () => {
    await hold(closed, { id: 'several', tokensPerMinute: 1_000n });
    const { usage } = (await (await closed.chat({ n: 3 }, { headers: bearer })).json()) as { usage: { total_tokens: number } };
    const metadata = new Metadata();
    metadata.set('authorization', bearer.authorization);
    const client = createServiceClient(Inference, `127.0.0.1:${closed.app.ports.grpc}`);
    const call = client.generate({ model: 'fake', n: 3, input: { case: 'prompt', value: 'x' } }, { metadata });
    for await (const _ of call as AsyncIterable<GenerateResponse>);
    client.close();
    const charged = (): number => {
      const last = closed.flags.all('apiKeyUsage').at(-1);
      if (last) closed.flags.send({ case: 'apiKeyBalances', value: { replicaId: 'gateway-test', batch: last.batch, gateways: 1, balances: [] } });
      const batches = new Map(closed.flags.all('apiKeyUsage').map((batch) => [batch.batch, batch.spending]));
      return [...batches.values()].flat().reduce((sum, { keyId, tokens }) => sum + (keyId === 'several' ? Number(tokens) : 0), 0);
    };
    await until(() => charged() >= 2 * usage.total_tokens);
    expect([usage.total_tokens, charged()]).toEqual([13, 26]);
  });

  it('gives a time to the request by its header, and by the deadline of gRPC', async () => {
    await hold(closed, {});
    closed.worker.script = undefined;
    const late = await closed.chat({}, { headers: { ...bearer, 'x-request-timeout-ms': '30' } });
    expect([late.status, (await errorOf(late)).code]).toEqual([504, 'request_timeout']);
    closed.worker.script = ['one', 'two'];
  });
});

describe('the gRPC door', () => {
  it('has n answers, forced tools, log probabilities, tenants and classes', async () => {
    await hold(open, { priority: Priority.NORMAL });
    const client = createServiceClient(Inference, `127.0.0.1:${open.app.ports.grpc}`);
    const metadata = new Metadata();
    metadata.set('authorization', bearer.authorization);
    const tool = JSON.stringify({ type: 'function', function: { name: 'weather' } });
    const conversation = { messages: [{ role: 'user', content: 'x' }], toolsJson: [tool] };
    open.worker.script = ['{"city":', '"Bern"}'];
    const events: GenerateResponse['event'][] = [];
    const call = client.generate({ model: 'fake', n: 2, toolChoice: 'weather', priority: Priority.BATCH, input: { case: 'conversation', value: conversation } }, { metadata });
    for await (const { event } of call as AsyncIterable<GenerateResponse>) events.push(event);
    const ends = events.flatMap((event) => (event.case === 'finished' ? [event.value] : []));
    expect(ends.map(({ index, toolCalls }) => [index, toolCalls[0]?.name, toolCalls[0]?.argumentsJson]).sort()).toEqual([[0, 'weather', '{"city":"Bern"}'], [1, 'weather', '{"city":"Bern"}']]);
    expect(events.filter(({ case: kind }) => kind === 'decision')).toHaveLength(1);
    expect(open.worker.generations[0]!.request).toMatchObject({ tenant: 'team-a', priority: Priority.BATCH });
    client.close();
  });
});

describe('a class that is none', () => {
  it('counts as the lowest at the gRPC door, so that nobody goes before others by it', async () => {
    const client = createServiceClient(Inference, `127.0.0.1:${open.app.ports.grpc}`);
    open.worker.script = ['one'];
    const call = client.generate({ model: 'fake', priority: 99 as Priority, input: { case: 'prompt', value: 'x' } });
    for await (const _ of call as AsyncIterable<GenerateResponse>);
    expect(open.worker.generations[0]!.request.priority).toBe(Priority.BACKGROUND);
    client.close();
  });
});

describe('an explanation', () => {
  it('is given to operators in place of an answer, and to nobody else', async () => {
    await writeFile(join(open.directory, 'admin-token'), 'root-token-of-the-test\n');
    const ask = (token: string) => open.chat({ user: 'ada' }, { headers: { 'x-mlx-serving-explain': '1', 'x-mlx-serving-operator-token': token } });
    const explained = await ask('root-token-of-the-test');
    expect(await explained.json()).toMatchObject({ decision: { variant: 'baseline', enabledFlags: ['warm'] }, flags: { warm: { enabled: true, steps: expect.any(Array) } } });
    expect(open.worker.generations).toHaveLength(0);
    expect((await open.chat({}, { headers: { 'x-mlx-serving-explain': '1' } })).status).toBe(403);
    await writeFile(join(open.directory, 'admin-token'), '');
    expect((await ask('')).status).toBe(403);
  });
});

describe('pages of other origins', () => {
  it('may read answers when their origin is configured, and ask before', async () => {
    const origin = { origin: 'https://app.example' };
    expect((await open.get('/v1/models', origin)).headers.get('access-control-allow-origin')).toBeNull();
    const path = join(open.directory, 'runtime.yaml');
    await writeFile(path, (await readFile(path, 'utf8')).replace('origins: []', 'origins: ["https://app.example"]'));
    await open.app.reload?.();
    expect((await open.get('/v1/models', origin)).headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect((await open.get('/v1/models', { origin: 'https://other.example' })).headers.get('access-control-allow-origin')).toBeNull();
    const preflight = await fetch(`${open.url}/v1/chat/completions`, { method: 'OPTIONS', headers: { ...origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' } });
    expect([preflight.status, preflight.headers.get('access-control-allow-headers')]).toEqual([204, 'authorization']);
  });
});
