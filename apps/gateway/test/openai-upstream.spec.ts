import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { StreamOutcome } from '@mlx-serving/contracts';
import { FakeWorker, until } from '@mlx-serving/testing';
import { delta, FakeOpenAiServer, sendEvents, usage } from './fake-openai-server.ts';
import { errorOf, events, Harness, type Setup } from './gateway-harness.ts';
import { openRaw } from './raw-http.ts';

let gateway: Harness;
let server: FakeOpenAiServer;

beforeEach(async () => {
  server = await new FakeOpenAiServer().start();
});
afterEach(async () => {
  await gateway.stop();
  await server.kill();
});

const start = async (address = server.address, setup: Setup = {}): Promise<void> => {
  gateway = await new Harness({ workerAddresses: [address], ...setup }).start();
};
/** A whole look at the server begins and ends meanwhile. */
const probed = async (): Promise<void> => {
  const before = server.listsAsked;
  await until(() => server.listsAsked >= before + 3);
};

describe('a server of OpenAI’s API as a worker', () => {
  it('gets a chat with its sampling, and its answer comes as a stream of our own', async () => {
    await start();
    const answer = gateway.chat({ stream: true, stream_options: { include_usage: true }, temperature: 0.7, top_p: 0.9, seed: 5, max_tokens: 8, stop: ['x'] }, { headers: { 'x-request-id': 'r-1' } });
    const call = await server.call(0);
    expect([call.path, call.headers['x-request-id'], call.headers.authorization]).toEqual(['/v1/chat/completions', 'r-1', undefined]);
    expect(call.body).toEqual({
      model: 'fake', messages: [{ role: 'user', content: 'Hello' }], stream: true, stream_options: { include_usage: true }, temperature: 0.7, top_p: 0.9, seed: 5, max_tokens: 8, stop: ['x'],
    });
    sendEvents(call, ': keepalive 1/2\n\n', { choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }], model: 'other' }, delta('Hel'), delta('lo'), delta('', 'length'), usage, 'data: [DONE]\n\n');
    call.response.end();
    const chunks = events(await (await answer).text()) as { model: string; choices: { delta: { content?: string }; finish_reason: string | null }[]; usage?: object }[];
    expect(chunks.slice(0, -1).flatMap(({ choices }) => choices.map((choice) => choice.delta.content ?? '')).join('')).toBe('Hello');
    expect(chunks[0]?.model).toBe('other');
    expect(chunks.at(-3)?.choices[0]?.finish_reason).toBe('length');
    expect(chunks.at(-2)?.usage).toMatchObject({ prompt_tokens: 9, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 4 } });
    const [report] = await gateway.reports(1);
    expect(report).toMatchObject({ outcome: StreamOutcome.OK, workerId: `${server.address}/v1`, usage: { promptTokens: 9, completionTokens: 2 } });
  });

  it('gets a plain prompt, with a key and a name of its own for the model', async () => {
    server.hasHealth = false;
    await start(`http://secret@127.0.0.1:${server.port}/v1/#their-model`);
    const answer = gateway.post('/v1/completions', { model: 'ours', prompt: 'Once', temperature: 0 });
    const call = await server.call(0);
    expect([call.path, call.headers.authorization]).toEqual(['/v1/completions', 'Bearer secret']);
    expect(call.body).toMatchObject({ model: 'their-model', prompt: 'Once', max_tokens: 16 });
    sendEvents(call, { choices: [{ index: 0, text: ' upon', finish_reason: null }] }, { choices: [{ index: 0, text: '', finish_reason: 'stop' }] });
    call.response.end('data: [DONE]\n\n');
    expect(await (await answer).json()).toMatchObject({ choices: [{ text: ' upon', finish_reason: 'stop' }], usage: { completion_tokens: 1 } });
    expect(JSON.stringify(await (await gateway.get('/health/ready')).json())).not.toContain('secret');
  });

  it('gives its models and its calls of tools', async () => {
    await start();
    expect(((await (await gateway.get('/v1/models')).json()) as { data: unknown[] }).data).toEqual([{ id: 'other', object: 'model', created: 1_700_000_000, owned_by: 'mlx-serving' }]);
    const tools = [{ type: 'function', function: { name: 'weather', description: 'd', parameters: { type: 'object', properties: {} } } }];
    const answer = gateway.chat({ tools });
    const call = await server.call(0);
    expect(call.body['tools']).toMatchObject(tools);
    const part = (tool: object): object => ({ choices: [{ index: 0, delta: { tool_calls: [tool] }, finish_reason: null }] });
    sendEvents(call, part({ index: 0, id: 'c1', function: { name: 'weather', arguments: '{"a"' } }), part({ index: 0, function: { arguments: ':1}' } }), { choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] });
    call.response.end('data: [DONE]\n\n');
    expect(await (await answer).json()).toMatchObject({ choices: [{ finish_reason: 'tool_calls', message: { tool_calls: [{ id: 'c1', function: { name: 'weather', arguments: '{"a":1}' } }] } }] });
  });

  it.each([true, false])('is left as soon as the client is gone (stream %s)', async (stream) => {
    await start();
    const client = await openRaw(gateway.app.ports.http, { model: 'fake', stream, messages: [{ role: 'user', content: 'Hello' }] });
    const call = await server.call(0);
    client.destroy();
    await until(() => call.gone);
  });

  it.each([
    [400, { error: { message: 'too long', type: 'invalid_request_error' } }, 400, 'too long'],
    [404, { error: { message: 'no such model' } }, 404, 'no such model'],
    [422, { message: 'seed is not supported' }, 400, 'seed is not supported'],
    [429, 'busy', 429, 'The server has too many requests already.'],
    [500, { error: { message: 'secret trace' } }, 500, 'The server that should serve this request failed.'],
    [401, { error: { message: 'bad key' } }, 500, 'The server that should serve this request failed.'],
  ])('has its error %s passed on as what it means', async (status, body, expected, message) => {
    await start();
    const answer = gateway.chat();
    (await server.call(0)).response.writeHead(status, { 'retry-after': '7' }).end(JSON.stringify(body));
    const response = await answer;
    expect([response.status, (await errorOf(response)).message]).toEqual([expected, message]);
    if (status === 429) expect(response.headers.get('retry-after')).toBe('7');
  });

  it('that breaks off, or never says how it ended, never ends in silence', async () => {
    await start();
    for (const [index, end] of [(call: Awaited<ReturnType<FakeOpenAiServer['call']>>) => call.response.destroy(), (call: Awaited<ReturnType<FakeOpenAiServer['call']>>) => call.response.end()].entries()) {
      const answer = gateway.chat({ stream: true });
      const call = await server.call(index);
      sendEvents(call, delta('one'));
      const response = await answer;
      end(call);
      expect(events(await response.text()).at(-1)).toMatchObject({ error: { code: 'upstream_cut' } });
    }
  });

  it('has a request sent once more when it closes an idle connection just as it is taken', async () => {
    await start();
    const ask = async (number: number): Promise<number> => {
      const answer = gateway.chat();
      const call = await server.call(number);
      sendEvents(call, delta('fine', 'stop'), 'data: [DONE]\n\n');
      call.response.end();
      return (await answer).status;
    };
    expect(await ask(0)).toBe(200);
    server.closesIdle = true;
    expect(await ask(1)).toBe(200);
    expect(server.stale).toBe(1);
    const [, second] = await gateway.reports(2);
    expect(second).toMatchObject({ outcome: StreamOutcome.OK });
    expect(await gateway.metric('mlx_serving_gateway_worker_retries_total')).toBe('0');
  });

  it.each([
    ['calls without a place', { choices: [{ index: 0, delta: { tool_calls: [{ index: 1e9, function: { name: 'x' } }] } }] }],
    ['choices that are none', { choices: {} }],
    ['no JSON', '{'],
  ])('that sends %s ends the answer with an error', async (_, chunk) => {
    await start();
    const answer = gateway.chat({ stream: true });
    sendEvents(await server.call(0), delta('one'), typeof chunk === 'string' ? `data: ${chunk}\n\n` : chunk);
    expect(events(await (await answer).text()).at(-1)).toMatchObject({ error: { code: 'upstream_protocol' } });
  });

  it('that counts in no numbers has what came counted', async () => {
    await start();
    const answer = gateway.chat();
    const call = await server.call(0);
    sendEvents(call, delta('one'), delta('', 'constructor'), { choices: [], usage: { prompt_tokens: 'many', completion_tokens: -1 } });
    call.response.end('data: [DONE]\n\n');
    expect(await (await answer).json()).toMatchObject({ choices: [{ finish_reason: 'stop' }], usage: { prompt_tokens: 0, completion_tokens: 1 } });
  });

  describe('beside a worker with token ids', () => {
    const late = new FakeWorker({ script: ['from elsewhere'] });
    const serving = (count: string) => until(async () => (await gateway.metric('mlx_serving_gateway_serving_workers{variant="baseline"}')) === count);
    beforeEach(() => late.start());
    afterEach(() => late.kill());

    it('does not go on from that one’s tokens', async () => {
      server.healthy = false;
      await start(server.address, { workerAddresses: [server.address, late.address] });
      late.script = undefined;
      const answer = gateway.chat({ stream: true });
      (await late.generation(0)).accept().tokens('one');
      await answer;
      server.healthy = true;
      await serving('2');
      await late.kill();
      expect(events(await (await answer).text()).at(-1)).toMatchObject({ error: { code: 'worker_lost' } });
      expect(server.calls).toHaveLength(0);
    });

    it('has none of its own answers go on there: its tokens have no ids', async () => {
      await late.kill();
      await start(server.address, { workerAddresses: [server.address, late.address], runtime: { probe_interval_ms: 20, missed_probes: 1 } });
      const answer = gateway.chat({ stream: true });
      sendEvents(await server.call(0), delta('one'));
      await answer;
      const before = late.generations.length;
      await late.start();
      await serving('2');
      server.frozen = true;
      expect(events(await (await answer).text()).at(-1)).toMatchObject({ error: { code: 'worker_lost' } });
      expect(late.generations).toHaveLength(before);
    });
  });

  it('that reports an error within its stream ends ours with one', async () => {
    await start();
    const answer = gateway.chat({ stream: true });
    sendEvents(await server.call(0), delta('one'), { error: { message: 'secret' } });
    expect(events(await (await answer).text()).at(-1)).toMatchObject({ error: { code: 'upstream_error', message: expect.not.stringContaining('secret') } });
  });

  it('is slowed down when the client does not read', async () => {
    await start();
    const client = await openRaw(gateway.app.ports.http, { model: 'fake', stream: true, messages: [{ role: 'user', content: 'Hello' }] });
    client.pause();
    const call = await server.call(0);
    const part = delta('x'.repeat(100_000));
    let sent = 0;
    for (; sent < 1_000 && !call.response.writableNeedDrain; sent++) {
      sendEvents(call, part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(sent).toBeLessThan(1_000);
    client.destroy();
    await until(() => call.gone);
  });

  it.each([
    [200, { data: [] }],
    [404, { error: 'no such page' }],
    [401, { error: { message: 'bad key' } }],
    [200, 'no list at all'],
    [200, { data: { id: 'other' } }],
  ])('is not taken for stuck while its list of models is %s %j: what runs there goes on', async (status, body) => {
    server.list = { status, body };
    await start(server.address, { runtime: { probe_interval_ms: 20, missed_probes: 1 } });
    const answer = gateway.chat({ stream: true });
    const call = await server.call(0);
    sendEvents(call, delta('one '));
    await answer;
    await probed();
    sendEvents(call, delta('two', 'stop'), 'data: [DONE]\n\n');
    call.response.end();
    expect((await (await answer).text()).match(/"content":"(one |two)"/g)).toHaveLength(2);
    expect((await gateway.get('/health/ready')).status).toBe(200);
  });

  it('has those of its models listed that can be read', async () => {
    server.list = { status: 200, body: { data: [{ id: 'a', created: 'yesterday' }, { id: 5 }, null, { id: 'b', created: -1 }, { id: 'c', created: 1.5 }, { id: 'd' }] } };
    await start();
    const { data } = (await (await gateway.get('/v1/models')).json()) as { data: { id: string; created: number }[] };
    expect(data.map(({ id, created }) => [id, created])).toEqual([['a', 0], ['b', 0], ['c', 1], ['d', 0]]);
  });

  it('is out while it does not answer, and in again when it does', async () => {
    await start();
    server.healthy = false;
    await until(async () => (await gateway.get('/health/ready')).status === 503, 'not ready');
    server.healthy = true;
    await until(async () => (await gateway.get('/health/ready')).status === 200, 'ready');
  });
});
