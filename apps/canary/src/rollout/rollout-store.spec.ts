import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createRedis, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import type { Redis } from '../routing/redis-routing-store.ts';
import { FakeRolloutStore } from './fake-rollout-store.ts';
import { RedisRolloutStore } from './redis-rollout-store.ts';
import { emptyState } from './rollout-state.ts';
import { rolloutStoreContract } from './rollout-store.contract.ts';

rolloutStoreContract('FakeRolloutStore', () => new FakeRolloutStore());

describe('on a real Redis', () => {
  let server: RedisProcess;
  let redis: Redis;
  let stores = 0;
  beforeAll(async () => {
    server = await startRedis();
    redis = createRedis(server.url, silentLogger, 'test');
  });
  afterAll(async () => {
    redis.disconnect();
    await server.dispose();
  });

  rolloutStoreContract('RedisRolloutStore', () => new RedisRolloutStore(redis, `test-${stores++}:`));

  it('loses the lease when its time is over', async () => {
    const store = new RedisRolloutStore(redis, 'lease:');
    await store.acquire('a', 60_000);
    expect(await redis.pttl('lease:canary:acting')).toBeGreaterThan(50_000);
    await redis.pexpire('lease:canary:acting', 0);
    expect(await store.commit('a', { ...emptyState, version: 1 }, 0)).toBe(false);
    expect(await store.acquire('b', 60_000)).toBe(true);
  });

  it('takes an entry that cannot be read for none', async () => {
    const store = new RedisRolloutStore(redis, 'bad:');
    await redis.set('bad:canary:rollout', 'not json');
    expect(await store.load()).toBeUndefined();
    await store.acquire('a', 60_000);
    expect(await store.commit('a', { ...emptyState, version: 1 }, 0)).toBe(true);
  });
});
