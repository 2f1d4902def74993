import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { startRedis } from '@mlx-serving/testing';
import { FakeRoutingStore } from './fake-routing-store.ts';
import { type Redis, RedisRoutingStore } from './redis-routing-store.ts';
import { routingStoreContract } from './routing-store.contract.ts';

routingStoreContract('FakeRoutingStore', () => new FakeRoutingStore());

describe('on a real Redis', () => {
  let server: Awaited<ReturnType<typeof startRedis>>;
  let redis: Redis;
  let stores = 0;
  beforeAll(async () => {
    server = await startRedis();
    redis = createRedis(server.url, silentLogger, 'test');
  });
  beforeEach(() => redis.flushall());
  afterAll(async () => {
    redis.disconnect();
    await server.stop();
  });

  routingStoreContract('RedisRoutingStore', () => new RedisRoutingStore(redis, `test-${stores++}:`));

  it('keeps JSON under canary:routing, behind the prefix', async () => {
    await new RedisRoutingStore(redis, 'p:').settle('aa', 0n);
    expect(JSON.parse((await redis.get('p:canary:routing')) ?? '')).toEqual({ revision: 1, fingerprint: 'aa' });
  });

  it.each(['not json', '[]', '{"revision":"7"}', '"text"'])('takes %s for no entry', async (entry) => {
    await redis.set('canary:routing', entry);
    expect(await new RedisRoutingStore(redis, '').settle('aa', 4n)).toBe(4n);
  });
});
