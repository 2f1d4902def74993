import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { StreamOutcome } from '@mlx-serving/contracts';
import { until } from '@mlx-serving/testing';
import { Harness } from './gateway-harness.ts';
import { openRaw } from './raw-http.ts';

let gateway: Harness;

beforeEach(async () => {
  gateway = await new Harness({ runtime: { max_concurrent_streams: 1 } }).start();
});
afterEach(() => gateway.stop());

const body = (stream: boolean) => ({ model: 'fake', stream, messages: [{ role: 'user', content: 'Hello' }] });

describe('a client that goes away', () => {
  it.each([true, false])('cancels the worker before the first token (stream %s)', async (stream) => {
    const client = await openRaw(gateway.app.ports.http, body(stream));
    const generation = await gateway.worker.generation(0);
    client.destroy();
    await until(() => generation.cancelled);
    const [report] = await gateway.reports(1);
    expect(report).toMatchObject({ outcome: StreamOutcome.CANCELLED, errorReason: 'CLIENT_GONE', workerId: gateway.worker.address });
    expect(report?.ttftMs).toBeUndefined();
    expect(await gateway.metric('mlx_serving_gateway_active_streams')).toBe('0');
  });

  it('cancels the worker in the middle of a stream, and counts the tokens that were made', async () => {
    const client = await openRaw(gateway.app.ports.http, body(true));
    const generation = (await gateway.worker.generation(0)).accept();
    generation.tokens('one', 'two');
    await once(client, 'data');
    client.destroy();
    await until(() => generation.cancelled);
    const [report] = await gateway.reports(1);
    expect(report).toMatchObject({ outcome: StreamOutcome.CANCELLED, usage: { promptTokens: 7, completionTokens: 2 } });
    expect(report?.ttftMs).toBeGreaterThan(0);
  });

  it('cancels the worker while an answer that is not streamed is being made', async () => {
    const client = await openRaw(gateway.app.ports.http, body(false));
    const generation = (await gateway.worker.generation(0)).accept();
    generation.tokens('one');
    client.destroy();
    await until(() => generation.cancelled);
  });

  it('leaves the queue at once, and never reaches a worker', async () => {
    const first = gateway.chat();
    const generation = await gateway.worker.generation(0);
    const queued = await openRaw(gateway.app.ports.http, body(true));
    await until(async () => (await gateway.metric('mlx_serving_gateway_queue_depth')) === '1');
    queued.destroy();
    await until(async () => (await gateway.metric('mlx_serving_gateway_queue_depth')) === '0');
    generation.accept().tokens('x');
    generation.finish();
    expect((await first).status).toBe(200);
    expect((await gateway.reports(2)).map((report) => report.outcome)).toEqual([StreamOutcome.CANCELLED, StreamOutcome.OK]);
    expect(gateway.worker.generations).toHaveLength(1);
  });
});

describe('a client that reads slowly', () => {
  it('stops the worker from writing more than buffers hold, and gets everything in the end', async () => {
    const client = await openRaw(gateway.app.ports.http, body(true));
    client.pause();
    const generation = (await gateway.worker.generation(0)).accept();
    const token = 'x'.repeat(64 * 1024);
    // With nobody reading, the writing comes to a halt somewhere: 64 MiB are far beyond all buffers on the way.
    let sent = 0;
    const halted = (async () => {
      for (; sent < 1_000; sent++) if (!generation.tokens(token)) await generation.drained();
    })();
    // The halt is one when nothing moves while other requests go through the same process; were it seen too early, the bound would hold all the more.
    await until(async () => {
      const before = sent;
      for (let request = 0; request < 20; request++) await gateway.get('/health/live');
      return sent === before && sent > 0;
    });
    expect(sent).toBeLessThan(400);
    let received = 0;
    client.on('data', (part: Buffer) => (received += part.length));
    client.resume();
    await halted;
    generation.finish();
    await until(() => received > 1_000 * token.length);
    const [report] = await gateway.reports(1);
    expect(report).toMatchObject({ outcome: StreamOutcome.OK, usage: { completionTokens: 1_000 } });
  });
});
