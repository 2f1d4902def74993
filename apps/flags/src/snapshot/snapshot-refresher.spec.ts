import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { environment } from '../config.ts';
import type { FlagChange, StoredState, StoreListeners } from '../store/flag-store.ts';
import { LiveFlags } from './live-flags.ts';
import { SnapshotRefresher } from './snapshot-refresher.ts';

const { refreshMs, revisionCheckMs } = readEnvironment(environment, {});

/** A store at a revision that the test sets, with one flag whose share is that revision. */
class NumberedStore {
  present = 1;
  same = true;
  listeners!: StoreListeners;
  readonly asked: string[] = [];

  start(listeners: StoreListeners): void {
    this.listeners = listeners;
  }

  async load(): Promise<StoredState> {
    this.asked.push('load');
    return this.#state();
  }

  async read(): Promise<StoredState> {
    this.asked.push('read');
    return this.#state();
  }

  async check(): Promise<object | undefined> {
    this.asked.push('check');
    return this.same ? { count: 0, hash: '', revision: BigInt(this.present) } : undefined;
  }

  async revision(): Promise<bigint> {
    this.asked.push('revision');
    return BigInt(this.present);
  }

  change(revision: number): FlagChange {
    return { revision: BigInt(revision), names: ['a'], emergency: false, records: false };
  }

  #state() {
    const emergency = { killSwitch: false, rollbackToBaseline: false, actor: '', reason: '', atMs: 0 };
    const records = { segments: new Map(), tokens: new Map(), pending: new Map(), rollouts: new Map(), 'api-keys': new Map() };
    const flag = { text: JSON.stringify({ enabled: true, rolloutPercentage: this.present }), revision: BigInt(this.present), kill: undefined };
    return { lost: false, epoch: 'e', revision: BigInt(this.present), flags: new Map([['a', flag]]), kills: new Map(), emergency, records, auditHead: { count: 0, hash: '', revision: BigInt(this.present) } };
  }
}

describe('F11: how a flag service keeps up with the store', () => {
  let store: NumberedStore;
  let live: LiveFlags;
  let refresher: SnapshotRefresher;
  const share = () => live.get('a')?.config.rolloutPercentage;
  beforeEach(async () => {
    jest.useFakeTimers();
    store = new NumberedStore();
    live = new LiveFlags({ onChange: () => undefined, onUndecodable: () => undefined });
    refresher = new SnapshotRefresher({ store: store as never, live, logger: silentLogger, refreshMs, revisionCheckMs, onStoreError: () => undefined, onLoaded: () => undefined, onPeerMessage: () => undefined });
    refresher.start();
    store.listeners.onConnected();
    await jest.advanceTimersByTimeAsync(0);
    store.asked.length = 0;
  });
  afterEach(() => {
    refresher.stop();
    jest.useRealTimers();
  });

  it('reads the one flag that an announcement names when it is the next revision', async () => {
    store.present = 2;
    store.listeners.onChange(store.change(2));
    await jest.advanceTimersByTimeAsync(0);
    expect([store.asked, share()]).toEqual([['read'], 2]);
  });

  it('reads everything when a revision between is missing', async () => {
    store.present = 5;
    store.listeners.onChange(store.change(5));
    await jest.advanceTimersByTimeAsync(0);
    expect([store.asked, share()]).toEqual([['load'], 5]);
  });

  it('compares revisions every second, which makes up for a lost announcement', async () => {
    store.present = 3;
    await jest.advanceTimersByTimeAsync(1_000);
    expect([store.asked, share()]).toEqual([['revision', 'load'], 3]);
  });

  it('looks within five seconds whether another tool has written, and reads everything only then', async () => {
    await jest.advanceTimersByTimeAsync(4_999);
    expect(store.asked.filter((what) => what !== 'revision')).toEqual(['check']);
    store.same = false;
    await jest.advanceTimersByTimeAsync(4_999);
    expect(store.asked.filter((what) => what !== 'revision')).toEqual(['check', 'check', 'load']);
  });
});
