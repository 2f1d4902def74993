import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SuiteRedis } from '@mlx-serving/testing';
import { FakeRolloutStore } from './fake-rollout-store.ts';
import { RedisRolloutStore } from './redis-rollout-store.ts';
import { emptyState } from './rollout-state.ts';
import { rolloutStoreContract } from './rollout-store.contract.ts';

rolloutStoreContract('FakeRolloutStore', () => new FakeRolloutStore());

describe('on a real Redis', () => {
  const redis = new SuiteRedis({ beforeAll, afterAll });

  rolloutStoreContract('RedisRolloutStore', () => new RedisRolloutStore(redis.client, redis.prefix()));

  it('loses the lease when its time is over', async () => {
    const store = new RedisRolloutStore(redis.client, 'lease:');
    await store.acquire('a', 60_000);
    expect(await redis.client.pttl('lease:canary:acting')).toBeGreaterThan(50_000);
    await redis.client.pexpire('lease:canary:acting', 0);
    expect(await store.commit('a', { ...emptyState, version: 1 }, 0)).toBe(false);
    expect(await store.acquire('b', 60_000)).toBe(true);
  });

  it('takes an entry that cannot be read for none', async () => {
    const store = new RedisRolloutStore(redis.client, 'bad:');
    await redis.client.set('bad:canary:rollout', 'not json');
    expect(await store.load()).toBeUndefined();
    await store.acquire('a', 60_000);
    expect(await store.commit('a', { ...emptyState, version: 1 }, 0)).toBe(true);
  });
});
