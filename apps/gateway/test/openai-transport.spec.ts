import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Agent } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { WorkerGenerateRequestSchema } from '@mlx-serving/contracts';
import { until } from '@mlx-serving/testing';
import { OpenAiTransport } from '../src/transport/openai-transport.ts';
import { TURN_BYTES } from '../src/transport/turn-share.ts';
import { delta, FakeOpenAiServer, sendEvents } from './fake-openai-server.ts';

let server: FakeOpenAiServer;
let transport: OpenAiTransport;

beforeEach(async () => {
  server = await new FakeOpenAiServer().start();
  transport = new OpenAiTransport({ base: new URL(`${server.address}/v1`), agent: new Agent(), headers: {}, model: undefined });
});
afterEach(async () => {
  transport.close();
  await server.kill();
});

describe('a stream from a server of OpenAI’s API', () => {
  it('brings no more than its share in one turn of the event loop, and loses nothing', async () => {
    const part = 'x'.repeat(8_192);
    let [received, over] = [0, false];
    const stream = transport.open(create(WorkerGenerateRequestSchema, { requestId: 'r', model: 'm', input: { case: 'prompt', value: 'Hello' } }), {
      response: ({ event }) => void (received += event.case === 'chunk' ? event.value.tokens.map(({ text }) => text).join('').length : 0),
      ended: () => (over = true),
    });
    const call = await server.call(0);
    sendEvents(call, delta('a'));
    await until(() => received === 1);
    stream.pause();
    sendEvents(call, ...Array.from({ length: 16 }, () => delta(part)), delta('', 'stop'), 'data: [DONE]\n\n');
    call.response.end();
    // The server is rid of all of it while nobody reads.
    await until(() => call.response.writableFinished);
    stream.resume();
    await setImmediate();
    expect(received).toBeGreaterThan(1);
    expect(received).toBeLessThanOrEqual(TURN_BYTES + 2 * part.length);
    await until(() => over);
    expect(received).toBe(1 + 16 * part.length);
  });
});
