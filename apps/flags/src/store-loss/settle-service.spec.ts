import { describe, expect, it } from '@jest/globals';
import { silentLogger } from '@mlx-serving/service-kit';
import { NO_EMERGENCY, type SetFlagWrite, type WriteResult } from '../store/flag-store.ts';
import { SettleService } from './settle-service.ts';

const author = { actor: 'alice', reason: 'disk replaced' };

/** A store that was emptied, and that another flag service writes to, so many times, just before a flag is written. */
class ContendedStore {
  text: string | undefined = undefined;
  settled = false;
  #others: number;

  constructor(others: number) {
    this.#others = others;
  }

  async setFlag({ text, base }: SetFlagWrite): Promise<WriteResult> {
    if (this.#others-- > 0) this.text = `by another, ${this.#others} to come`;
    if (base !== this.text) return { outcome: 'stale' };
    this.text = text;
    return { outcome: 'written', names: ['a'], state: { revision: 1n, flags: new Map(), kills: new Map(), emergency: NO_EMERGENCY } };
  }

  async read() {
    return { flags: new Map([['a', { text: this.text }]]) };
  }

  async settle(): Promise<bigint> {
    this.settled = true;
    return 2n;
  }

  writeDespiteLoss(): void {}
  async raiseRevision(): Promise<void> {}
}

const reseed = (store: ContendedStore): Promise<bigint> => {
  const live = { records: {}, segments: [], flags: [{ name: 'a', text: 'as it was known' }], kills: new Map(), emergency: NO_EMERGENCY, revision: 1n, epoch: 'e' };
  const refresher = { reload: async () => undefined, lost: { flags: new Map() } };
  return new SettleService({ store, live, refresher, kills: {}, rules: { assertReason: () => undefined }, logger: silentLogger, onAccepted: async () => undefined } as never).reseed(author);
};

describe('F14: a store that is written again', () => {
  it('holds every flag that was known, also one that somebody else wrote meanwhile', async () => {
    const store = new ContendedStore(2);
    expect(await reseed(store)).toBe(2n);
    expect([store.text, store.settled]).toEqual(['as it was known', true]);
  });

  it('is not said to hold what was known when a flag cannot be written', async () => {
    const store = new ContendedStore(10);
    await expect(reseed(store)).rejects.toMatchObject({ reason: 'WRITE_CONTENDED' });
    expect(store.settled).toBe(false);
  });
});
