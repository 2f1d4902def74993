import { create } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type StreamReportBatch, StreamReportBatchSchema } from '@mlx-serving/contracts';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis, until } from '@mlx-serving/testing';
import { ReportExchange } from './report-exchange.ts';

const batch = (firstSequence: bigint): StreamReportBatch => create(StreamReportBatchSchema, { firstSequence, reports: [{ ttftMs: 7 }] });

describe('ReportExchange', () => {
  let server: RedisProcess;
  const closing: (() => void)[] = [];
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.dispose());
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });

  async function connection(name: string) {
    const redis = createRedis(server.url, silentLogger, name);
    closing.push(() => redis.disconnect());
    await redis.connect();
    return redis;
  }

  async function exchangeOf(prefix: string, gateways: number, now: () => number = () => performance.now()) {
    const received: [string, string, bigint][] = [];
    const redis = await connection('test');
    const exchange = new ReportExchange({
      redis,
      subscriber: createRedis(server.url, silentLogger, 'test-reports'),
      prefix,
      linkedGateways: () => gateways,
      onBatch: (replicaId, epoch, { firstSequence }) => received.push([replicaId, epoch, firstSequence]),
      now,
    });
    exchange.start();
    closing.push(() => exchange.stop());
    return { exchange, received, redis };
  }

  it('brings to each replica what the others were told, with the gateway’s name, epoch and number, and to none its own', async () => {
    const [one, two] = [await exchangeOf('a:', 1), await exchangeOf('a:', 2)];
    await until(() => one.exchange.gateways === 3 && two.exchange.gateways === 3);
    one.exchange.share('gateway-1', 'epoch', batch(41n));
    await until(() => two.received.length === 1);
    two.exchange.share('gateway-2', '', batch(1n));
    await until(() => one.received.length === 1);
    expect([one.received, two.received]).toEqual([[['gateway-2', '', 1n]], [['gateway-1', 'epoch', 41n]]]);
  });

  it('sends no report while it is alone, and forgets another replica that is heard no more', async () => {
    let late = 0;
    const [one, two] = [await exchangeOf('b:', 1, () => performance.now() + late), await exchangeOf('b:', 2)];
    await until(() => one.exchange.gateways === 3);
    two.exchange.stop();
    late = 60_000;
    expect(one.exchange.gateways).toBe(1);
    const listener = await connection('listener');
    const messages: Buffer[] = [];
    listener.on('messageBuffer', (_: Buffer, message: Buffer) => messages.push(message));
    await listener.subscribe('b:qos:reports');
    one.exchange.share('gateway-1', '', batch(1n));
    await one.redis.publish('b:qos:reports', 'the end');
    await until(() => messages.some((message) => message.toString() === 'the end'));
    expect(messages.filter((message) => message.includes('gateway-1'))).toEqual([]);
  });

  it('is not troubled by what is no message of a replica', async () => {
    const one = await exchangeOf('c:', 1);
    await until(async () => (await one.redis.pubsub('NUMSUB', 'c:qos:reports'))[1] === 1);
    for (const text of ['', '\n', '{}\n', '{"from":"x","gateways":-1}\n', '{"from":"x","gateways":0,"replicaId":"g","epoch":""}\nnot a batch', '{"from":"x","gateways":4}\n']) await one.redis.publish('c:qos:reports', text);
    await until(() => one.exchange.gateways === 5);
    expect(one.received).toEqual([]);
  });
});
