import { describe, expect, it } from '@jest/globals';
import type { RoutingStore } from './routing-store.ts';

/** What every routing store must do. `create` gives an empty one. */
export function routingStoreContract(name: string, create: () => RoutingStore): void {
  describe(`${name} as a routing store`, () => {
    it('begins at 1', async () => {
      expect(await create().settle('aa', 0n)).toBe(1n);
    });

    it('keeps the revision of an unchanged table', async () => {
      const store = create();
      await store.settle('aa', 0n);
      expect(await store.settle('aa', 0n)).toBe(1n);
      expect(await store.settle('aa', 1n)).toBe(1n);
    });

    it('raises the revision by one for a changed table, also back to a former one', async () => {
      const store = create();
      await store.settle('aa', 0n);
      expect(await store.settle('bb', 0n)).toBe(2n);
      expect(await store.settle('aa', 0n)).toBe(3n);
    });

    it('never goes below what gateways may have, and remembers it', async () => {
      const store = create();
      expect(await store.settle('aa', 57n)).toBe(57n);
      expect(await store.settle('aa', 0n)).toBe(57n);
      expect(await store.settle('aa', 60n)).toBe(60n);
      expect(await store.settle('bb', 58n)).toBe(61n);
    });

    it('counts on beyond what is written with an exponent', async () => {
      const store = create();
      expect(await store.settle('aa', 10n ** 15n)).toBe(10n ** 15n);
      expect(await store.settle('bb', 0n)).toBe(10n ** 15n + 1n);
    });

    it('gives one revision to each table when several settle at once', async () => {
      const store = create();
      const revisions = await Promise.all(['aa', 'bb', 'cc', 'dd'].map((fingerprint) => store.settle(fingerprint, 0n)));
      expect(new Set(revisions)).toEqual(new Set([1n, 2n, 3n, 4n]));
    });
  });
}
