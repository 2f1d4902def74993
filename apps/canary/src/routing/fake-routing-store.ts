import type { RoutingStore } from './routing-store.ts';

/** The store in memory, which tests can take away. */
export class FakeRoutingStore implements RoutingStore {
  reachable = true;
  #stored: { revision: bigint; fingerprint: string } | undefined;

  async settle(fingerprint: string, atLeast: bigint): Promise<bigint> {
    if (!this.reachable) throw new Error('the store is away');
    const known = this.#stored?.revision ?? 0n;
    const next = this.#stored?.fingerprint === fingerprint ? known : known + 1n;
    const revision = next > atLeast ? next : atLeast;
    this.#stored = { revision, fingerprint };
    return revision;
  }
}
