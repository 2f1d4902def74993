import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { SuiteRedis } from '@mlx-serving/testing';
import { FakeRoutingStore } from './fake-routing-store.ts';
import { RedisRoutingStore } from './redis-routing-store.ts';
import { routingStoreContract } from './routing-store.contract.ts';

routingStoreContract('FakeRoutingStore', () => new FakeRoutingStore());

describe('on a real Redis', () => {
  const redis = new SuiteRedis({ beforeAll, afterAll });
  beforeEach(() => redis.client.flushall());

  routingStoreContract('RedisRoutingStore', () => new RedisRoutingStore(redis.client, redis.prefix()));

  it('keeps JSON under canary:routing, behind the prefix', async () => {
    await new RedisRoutingStore(redis.client, 'p:').settle('aa', 0n);
    expect(JSON.parse((await redis.client.get('p:canary:routing')) ?? '')).toEqual({ revision: 1, fingerprint: 'aa' });
  });

  it.each(['not json', '[]', '{"revision":"7"}', '"text"'])('takes %s for no entry', async (entry) => {
    await redis.client.set('canary:routing', entry);
    expect(await new RedisRoutingStore(redis.client, '').settle('aa', 4n)).toBe(4n);
  });
});
