import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EMPTY_STATE } from '@mlx-serving/policy';
import { SuiteRedis } from '@mlx-serving/testing';
import type { ControlStore, KeptControl } from './control-store.ts';
import { FakeControlStore } from './fake-control-store.ts';
import { RedisControlStore } from './redis-control-store.ts';

const kept = (savedAtMs: number): KeptControl => ({ savedAtMs, executor: EMPTY_STATE, workerBatches: {} });

function contract(name: string, create: () => ControlStore): void {
  describe(`${name} as a control store`, () => {
    it('has nothing at first, and then what was kept last', async () => {
      const store = create();
      expect(await store.load()).toBeUndefined();
      const term = (await store.acquire('a', 60_000, true)) ?? 0;
      expect(await store.commit('a', term, kept(1))).toBe(true);
      expect(await store.commit('a', term, kept(2))).toBe(true);
      expect(await store.load()).toEqual(kept(2));
    });

    it('keeps the error budgets beside it, of the replica that acts only', async () => {
      const store = create();
      expect(await store.loadBudgets()).toEqual({});
      const term = (await store.acquire('a', 60_000, true)) ?? 0;
      const budgets = { 'p errors error_rate 0.1': { slotMs: 60_000, slots: [[7, 99, 1]] as const } };
      expect(await store.commitBudgets('a', term, budgets)).toBe(true);
      expect(await store.commitBudgets('b', term, {})).toBe(false);
      expect(await store.loadBudgets()).toEqual(budgets);
    });

    it('lets one replica act, and gives every change of hands a greater term', async () => {
      const store = create();
      const first = (await store.acquire('a', 60_000, true)) ?? 0;
      expect(await store.acquire('b', 60_000, true)).toBeUndefined();
      expect(await store.acquire('a', 60_000, false)).toBe(first);
      await store.release('a', first);
      expect(await store.acquire('b', 60_000, true)).toBe(first + 1);
    });

    it('takes nothing from a replica whose term is over, though it has come back', async () => {
      const store = create();
      const former = (await store.acquire('a', 60_000, true)) ?? 0;
      const latter = (await store.acquire('a', 60_000, true)) ?? 0;
      expect(latter).toBe(former + 1);
      expect(await store.commit('a', former, kept(1))).toBe(false);
      await store.release('a', former);
      expect(await store.commit('a', latter, kept(2))).toBe(true);
      expect(await store.commit('b', latter, kept(3))).toBe(false);
    });
  });
}

contract('FakeControlStore', () => new FakeControlStore());

describe('on a real Redis', () => {
  const redis = new SuiteRedis({ beforeAll, afterAll });

  contract('RedisControlStore', () => new RedisControlStore(redis.client, redis.prefix()));

  it('loses the lease when its time is over', async () => {
    const store = new RedisControlStore(redis.client, 'lease:');
    const term = (await store.acquire('a', 60_000, true)) ?? 0;
    expect(await redis.client.pttl('lease:qos:acting')).toBeGreaterThan(50_000);
    await redis.client.pexpire('lease:qos:acting', 0);
    expect(await store.commit('a', term, kept(1))).toBe(false);
    expect(await store.acquire('b', 60_000, true)).toBe(term + 1);
  });

  it('takes an entry that cannot be read for none', async () => {
    const store = new RedisControlStore(redis.client, 'bad:');
    for (const text of ['not json', '{"executor":1}', 'null']) {
      await redis.client.set('bad:qos:control', text);
      expect(await store.load()).toBeUndefined();
    }
  });
});
