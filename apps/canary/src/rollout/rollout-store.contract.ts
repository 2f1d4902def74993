import { describe, expect, it } from '@jest/globals';
import { emptyState } from './rollout-state.ts';
import type { RolloutStore } from './rollout-store.ts';

/** What every rollout store must do. `create` gives an empty one. */
export function rolloutStoreContract(name: string, create: () => RolloutStore): void {
  describe(`${name} as a rollout store`, () => {
    it('has nothing at first, and then the state that was committed last', async () => {
      const store = create();
      expect(await store.load()).toBeUndefined();
      await store.acquire('a', 60_000);
      expect(await store.commit('a', { ...emptyState, version: 1, id: 'one' }, 0)).toBe(true);
      expect(await store.commit('a', { ...emptyState, version: 2, id: 'two', percentage: 12.5 }, 1)).toBe(true);
      expect(await store.load()).toEqual({ ...emptyState, version: 2, id: 'two', percentage: 12.5 });
    });

    it('refuses a state that does not follow the kept one', async () => {
      const store = create();
      await store.acquire('a', 60_000);
      await store.commit('a', { ...emptyState, version: 1 }, 0);
      expect(await store.commit('a', { ...emptyState, version: 1, id: 'late' }, 0)).toBe(false);
      expect((await store.load())?.id).toBe('');
    });

    it('lets one replica act, until it gives the lease back', async () => {
      const store = create();
      expect(await store.acquire('a', 60_000)).toBe(true);
      expect(await store.acquire('b', 60_000)).toBe(false);
      expect(await store.commit('b', { ...emptyState, version: 1 }, 0)).toBe(false);
      expect(await store.acquire('a', 60_000)).toBe(true);
      await store.release('b');
      expect(await store.acquire('b', 60_000)).toBe(false);
      await store.release('a');
      expect(await store.acquire('b', 60_000)).toBe(true);
      expect(await store.commit('a', { ...emptyState, version: 1 }, 0)).toBe(false);
    });

    it('keeps an end of the kept state whoever acts, when it follows it', async () => {
      const store = create();
      await store.acquire('a', 60_000);
      await store.commit('a', { ...emptyState, version: 1, percentage: 10 }, 0);
      expect(await store.lower({ ...emptyState, version: 1, id: 'late' }, 0)).toBe(false);
      expect(await store.lower({ ...emptyState, version: 2, phase: 'rolled_back' }, 1)).toBe(true);
      expect(await store.load()).toMatchObject({ version: 2, phase: 'rolled_back' });
      expect(await store.commit('a', { ...emptyState, version: 2 }, 1)).toBe(false);
    });

    it('takes one of several that commit at once', async () => {
      const store = create();
      await store.acquire('a', 60_000);
      const taken = await Promise.all(['x', 'y', 'z'].map((id) => store.commit('a', { ...emptyState, version: 1, id }, 0)));
      expect(taken.filter(Boolean)).toHaveLength(1);
    });
  });
}
