import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { create } from '@bufbuild/protobuf';
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Client, credentials } from '@grpc/grpc-js';
import { channelOptions, FinishReason, type WorkerGenerateRequest, WorkerGenerateRequestSchema, type WorkerGenerateResponse } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import { FakeWorker, until } from '@mlx-serving/testing';
import { GrpcJsTransport } from './grpc-js-transport.ts';
import { Http2Transport } from './http2-transport.ts';
import type { TokenStream, TokenStreamListener, TokenStreamOptions, TokenTransport } from './token-transport.ts';
import { TURN_BYTES } from './turn-share.ts';

/** What HTTP/2 hands over in one piece. */
const MOST_FRAME_BYTES = 16 * 1_024;

/** What came of one stream. */
class Recorded {
  readonly texts: string[] = [];
  readonly cases: (string | undefined)[] = [];
  readonly endings: (ServiceError | undefined)[] = [];
  readonly stream: TokenStream;

  constructor(transport: TokenTransport, request: Partial<Pick<WorkerGenerateRequest, 'requestId' | 'enabledFlags'>> = {}, options: TokenStreamOptions = {}) {
    const message = create(WorkerGenerateRequestSchema, { requestId: 'r', input: { case: 'prompt', value: 'Hello' }, ...request });
    this.stream = transport.open(message, { response: (response) => this.#take(response), ended: (error) => void this.endings.push(error === undefined ? undefined : ServiceError.from(error)) }, options);
  }

  async ended(): Promise<ServiceError | undefined> {
    await until(() => this.endings.length > 0);
    return this.endings[0];
  }

  #take({ event }: WorkerGenerateResponse): void {
    this.cases.push(event.case);
    if (event.case === 'chunk') this.texts.push(...event.value.tokens.map(({ text }) => text));
  }
}

const kinds = {
  'grpc-js': (address: string) => {
    const channel = new Client(address, credentials.createInsecure(), { ...channelOptions, 'grpc-node.flow_control_window': 65_536, 'grpc.use_local_subchannel_pool': 1 });
    return Object.assign(new GrpcJsTransport(channel), { close: () => channel.close() });
  },
  'http2': (address: string) => new Http2Transport(address),
};

describe.each(Object.entries(kinds))('token streams over %s', (_, createTransport) => {
  let worker: FakeWorker;
  let transport: TokenTransport;

  beforeEach(async () => {
    worker = await new FakeWorker().start();
    transport = createTransport(worker.address);
  });
  afterEach(async () => {
    transport.close();
    for (const generation of worker.generations) generation.finish();
    await worker.kill();
  });

  it('bring the request there, and the events back in order', async () => {
    const recorded = new Recorded(transport, { requestId: 'r-1', enabledFlags: ['a', 'b'] });
    const generation = (await worker.generation(0)).accept();
    generation.tokens('Hel', 'lo ');
    generation.tokens('wörld', '', '👋'.repeat(100));
    generation.finish(FinishReason.LENGTH);
    expect(await recorded.ended()).toBeUndefined();
    expect(generation.request).toMatchObject({ requestId: 'r-1', enabledFlags: ['a', 'b'], input: { case: 'prompt', value: 'Hello' } });
    expect(recorded.cases).toEqual(['accepted', 'chunk', 'chunk', 'finished']);
    expect(recorded.texts).toEqual(['Hel', 'lo ', 'wörld', '', '👋'.repeat(100)]);
    expect(recorded.endings).toHaveLength(1);
  });

  it('carry many streams at once, each its own', async () => {
    const all = Array.from({ length: 50 }, (_unused, index) => new Recorded(transport, { requestId: `r-${index}` }));
    await worker.generation(49);
    for (const generation of worker.generations) {
      generation.accept().tokens(generation.request.requestId);
      generation.finish();
    }
    await Promise.all(all.map((recorded) => recorded.ended()));
    expect(all.map(({ texts }) => texts)).toEqual(all.map((_recorded, index) => [`r-${index}`]));
  });

  it('bring a long message whole', async () => {
    const recorded = new Recorded(transport);
    const generation = (await worker.generation(0)).accept();
    generation.tokens('ä'.repeat(500_000));
    generation.finish();
    expect(await recorded.ended()).toBeUndefined();
    expect(recorded.texts[0]).toHaveLength(500_000);
  });

  it('end with the worker’s own reason, message and time to retry after', async () => {
    const recorded = new Recorded(transport);
    (await worker.generation(0)).fail(new ServiceError('RESOURCE_EXHAUSTED', 'QUEUE_FULL', '9 requests wait – already', { retryAfterMs: 2_500 }));
    expect(await recorded.ended()).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'QUEUE_FULL', message: '9 requests wait – already', retryAfterMs: 2_500 });
  });

  it('end with what the worker says also after tokens', async () => {
    const recorded = new Recorded(transport);
    const generation = (await worker.generation(0)).accept();
    generation.tokens('one');
    generation.fail(new ServiceError('NOT_FOUND', 'MODEL_NOT_FOUND', 'unloaded'));
    expect(await recorded.ended()).toMatchObject({ code: 'NOT_FOUND', reason: 'MODEL_NOT_FOUND' });
    expect(recorded.texts).toEqual(['one']);
  });

  it('reach the worker as cancelled, and say nothing after that', async () => {
    const recorded = new Recorded(transport);
    const generation = (await worker.generation(0)).accept();
    await until(() => recorded.cases.length === 1);
    recorded.stream.cancel();
    recorded.stream.cancel();
    await until(() => generation.cancelled);
    expect([recorded.cases, recorded.endings]).toEqual([['accepted'], []]);
  });

  it('end with DEADLINE_EXCEEDED when their time is over, at the worker too', async () => {
    const connected = new Recorded(transport);
    (await worker.generation(0)).accept().finish();
    await connected.ended();
    const recorded = new Recorded(transport, {}, { timeoutMs: 300 });
    const generation = await worker.generation(1);
    expect(await recorded.ended()).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await until(() => generation.cancelled);
  });

  it('hold the worker back while they are paused, and lose nothing', async () => {
    const recorded = new Recorded(transport);
    const generation = (await worker.generation(0)).accept();
    await until(() => recorded.cases.length === 1);
    recorded.stream.pause();
    const part = 'x'.repeat(10_000);
    let sent = 0;
    while (generation.tokens(part)) sent++;
    // What fits the windows and buffers between is taken; then the writer stalls, and stays so.
    for (let more = 0; more < 100; more++) generation.tokens(part);
    sent += 101;
    let drained = false;
    const drain = generation.drained().then(() => (drained = true));
    const other = new Recorded(transport, { requestId: 'other' });
    const second = (await worker.generation(1)).accept();
    second.tokens('passes');
    await until(() => other.texts.length === 1);
    expect(drained).toBe(false);
    recorded.stream.resume();
    await drain;
    generation.finish();
    expect(await recorded.ended()).toBeUndefined();
    expect(recorded.texts.join('')).toHaveLength(sent * part.length);
  });

  it('bring no more than their share in one turn of the event loop, whatever has come', async () => {
    const recorded = new Recorded(transport);
    const generation = (await worker.generation(0)).accept();
    await until(() => recorded.cases.length === 1);
    recorded.stream.pause();
    const part = 'x'.repeat(8_192);
    while (generation.tokens(part));
    const other = new Recorded(transport, { requestId: 'other' });
    (await worker.generation(1)).accept().finish();
    await other.ended();
    // The window of 64 KiB is full.
    recorded.stream.resume();
    await setImmediate();
    const first = recorded.texts.join('').length;
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThanOrEqual(TURN_BYTES + MOST_FRAME_BYTES);
    generation.finish();
    expect(await recorded.ended()).toBeUndefined();
  });

  it('lead to nobody once they are over, for Node keeps them until the next full collection', async () => {
    const held = await finished(transport, worker);
    // A reference that was looked at holds until its turn is over.
    await setImmediate();
    collectGarbage();
    expect(held.listener.deref()).toBeUndefined();
    held.stream.cancel();
  });

  it('end as UNAVAILABLE when the worker dies, and work again once it is back', async () => {
    const recorded = new Recorded(transport);
    (await worker.generation(0)).accept();
    await until(() => recorded.cases.length === 1);
    await worker.kill();
    const error = await recorded.ended();
    expect(['UNAVAILABLE', 'CANCELLED']).toContain(error?.code);
    expect(await new Recorded(transport).ended()).toMatchObject({ code: 'UNAVAILABLE' });
    await worker.start();
    await until(async () => {
      const before = worker.generations.length;
      const again = new Recorded(transport);
      await until(() => again.endings.length > 0 || worker.generations.length > before);
      return worker.generations.length > before;
    });
  });
});

describe('the lean transport', () => {
  let server: Http2Server;
  let transport: Http2Transport;
  const streams: ServerHttp2Stream[] = [];

  beforeEach(async () => {
    streams.length = 0;
    server = createServer();
    server.on('stream', (stream) => streams.push(stream.on('error', () => undefined)));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    transport = new Http2Transport(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
  afterEach(async () => {
    transport.close();
    server.close();
    await once(server, 'close');
  });

  const accept = async (index: number): Promise<ServerHttp2Stream> => {
    await until(() => streams.length > index);
    return streams[index] as ServerHttp2Stream;
  };

  it('goes to a new session when the server sends it away, and what runs goes on', async () => {
    const first = new Recorded(transport);
    const old = await accept(0);
    old.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    old.session?.goaway();
    const ended = await untilSent(transport, streams);
    expect(ended.session).not.toBe(old.session);
    old.on('wantTrailers', () => old.sendTrailers({ 'grpc-status': 0 }));
    old.end();
    expect(await first.ended()).toBeUndefined();
  });

  it('takes an answer that is no gRPC for what its status means', async () => {
    const recorded = new Recorded(transport);
    (await accept(0)).respond({ ':status': 503 }, { endStream: true });
    expect(await recorded.ended()).toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('refuses a message that is too long, and one that does not end', async () => {
    const recorded = new Recorded(transport);
    const stream = await accept(0);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.write(Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]));
    expect(await recorded.ended()).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    const cut = new Recorded(transport);
    const second = await accept(1);
    second.on('wantTrailers', () => second.sendTrailers({ 'grpc-status': 0 }));
    second.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    second.end(Buffer.from([0, 0, 0, 0, 9, 1]));
    expect(await cut.ended()).toMatchObject({ code: 'INTERNAL' });
  });
});

/** A stream that has come to its end, and whoever listened to it. */
async function finished(transport: TokenTransport, worker: FakeWorker): Promise<{ stream: TokenStream; listener: WeakRef<TokenStreamListener> }> {
  let over = false;
  const listener: TokenStreamListener = { response: () => undefined, ended: () => (over = true) };
  const stream = transport.open(create(WorkerGenerateRequestSchema, { requestId: 'r' }), listener);
  (await worker.generation(0)).accept().finish();
  await until(() => over);
  return { stream, listener: new WeakRef(listener) };
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

/** Opens streams until one has come to the server over a session of its own. */
async function untilSent(transport: TokenTransport, streams: readonly ServerHttp2Stream[]): Promise<ServerHttp2Stream> {
  await until(async () => {
    const before = streams.length;
    const recorded = new Recorded(transport);
    await until(() => streams.length > before || recorded.endings.length > 0);
    return streams.at(-1)?.session !== streams[0]?.session;
  });
  return streams.at(-1) as ServerHttp2Stream;
}
