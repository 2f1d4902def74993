import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { FlagChange, FlagStore, WriteResult } from './flag-store.ts';

/** A store under test, and what another tool does behind its back. */
export interface StoreUnderTest {
  readonly store: FlagStore;
  hset(name: string, text: string): Promise<void>;
  hdel(name: string): Promise<void>;
  empty(): Promise<void>;
  dispose(): Promise<void>;
}

const kill = { actor: 'alice', reason: 'it burns', atMs: 1_700_000_000_000 };

function revisionOf(result: WriteResult): bigint {
  if (result.outcome !== 'written') throw new Error(`the write was ${result.outcome}`);
  return result.state.revision;
}

/** What every flag store does. Runs over the fake one and over Redis. */
export function flagStoreContract(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`the ${name} flag store`, () => {
    let under: StoreUnderTest;
    let store: FlagStore;
    let changes: FlagChange[];
    let wake: () => void;

    beforeEach(async () => {
      under = await create();
      ({ store } = under);
      changes = [];
      wake = () => undefined;
      let connections = 0;
      await new Promise<void>((resolve) => {
        const enough = name === 'Redis' ? 2 : 1;
        store.start({
          onChange: (change) => {
            changes.push(change);
            wake();
          },
          onConnected: () => ++connections === enough && resolve(),
        });
      });
    });

    afterEach(() => under.dispose());

    const changeAt = async (revision: bigint): Promise<FlagChange | undefined> => {
      while (!changes.some((change) => change.revision >= revision)) await new Promise<void>((resolve) => (wake = resolve));
      return changes.find((change) => change.revision === revision);
    };

    it('starts empty, without emergency, at revision 0', async () => {
      expect(await store.load(0n)).toMatchObject({ revision: 0n, reset: false, flags: new Map(), emergency: { killSwitch: false, rollbackToBaseline: false } });
    });

    it('raises the revision by one with each write, gives it to the flag, and announces it', async () => {
      const first = await store.setFlag({ name: 'a', text: '{"enabled":true}', base: undefined });
      const second = await store.setFlag({ name: 'b', text: '{}', base: undefined });
      expect([revisionOf(first), revisionOf(second)]).toEqual([1n, 2n]);
      expect(await changeAt(2n)).toEqual({ revision: 2n, names: ['b'], emergency: false });
      const state = await store.load(2n);
      expect(state.flags.get('a')).toEqual({ text: '{"enabled":true}', revision: 1n, kill: undefined });
      expect(state.revision).toBe(2n);
    });

    it('refuses a write that was built on another text, or on none, and changes nothing', async () => {
      await store.setFlag({ name: 'a', text: '1', base: undefined });
      expect(await store.setFlag({ name: 'a', text: '2', base: undefined })).toEqual({ outcome: 'stale' });
      expect(await store.setFlag({ name: 'a', text: '2', base: 'other' })).toEqual({ outcome: 'stale' });
      expect(await store.setFlag({ name: 'new', text: '2', base: '1' })).toEqual({ outcome: 'stale' });
      expect(await store.revision()).toBe(1n);
    });

    it('refuses a write for a revision that the flag is not at', async () => {
      await store.setFlag({ name: 'a', text: '1', base: undefined });
      expect(await store.setFlag({ name: 'a', text: '2', base: '1', ifRevision: 7n })).toEqual({ outcome: 'revision-mismatch', revision: 1n });
      expect((await store.setFlag({ name: 'a', text: '2', base: '1', ifRevision: 1n })).outcome).toBe('written');
    });

    it('does not raise the revision for the same text', async () => {
      await store.setFlag({ name: 'a', text: '1', base: undefined });
      expect((await store.setFlag({ name: 'a', text: '1', base: '1' })).outcome).toBe('unchanged');
      expect(await store.revision()).toBe(1n);
    });

    it('keeps a kill through writes of the flag, its deletion and its return, until a revive', async () => {
      await store.setFlag({ name: 'a', text: '1', base: undefined });
      const killed = await store.killFlag('a', kill);
      expect(killed).toMatchObject({ outcome: 'written', names: ['a'] });
      expect(killed.outcome === 'written' && killed.state.flags.get('a')).toEqual({ text: '1', revision: 2n, kill });
      await store.setFlag({ name: 'a', text: '{"killSwitch":false}', base: '1' });
      await under.hdel('a');
      await store.load(3n);
      await under.hset('a', '{"killSwitch":false}');
      expect((await store.load(4n)).flags.get('a')?.kill).toEqual(kill);
      expect((await store.reviveFlag('a')).outcome).toBe('written');
      expect((await store.load(6n)).flags.get('a')?.kill).toBeUndefined();
    });

    it('keeps the first kill when a second one comes, and lets a revive of a living flag be', async () => {
      await store.setFlag({ name: 'a', text: '1', base: undefined });
      await store.killFlag('a', kill);
      expect((await store.killFlag('a', { ...kill, actor: 'bob' })).outcome).toBe('unchanged');
      expect((await store.read(['a'])).flags.get('a')?.kill?.actor).toBe('alice');
      await store.reviveFlag('a');
      expect((await store.reviveFlag('a')).outcome).toBe('unchanged');
    });

    it('does not know what to kill or revive when there is no such flag', async () => {
      expect(await store.killFlag('a', kill)).toEqual({ outcome: 'not-found' });
      expect(await store.reviveFlag('a')).toEqual({ outcome: 'not-found' });
    });

    it('sets each emergency switch alone, and announces it', async () => {
      await store.setEmergency({ ...kill, killSwitch: true });
      const written = await store.setEmergency({ ...kill, actor: 'bob', rollbackToBaseline: true });
      expect(written).toMatchObject({ outcome: 'written', state: { revision: 2n, emergency: { killSwitch: true, rollbackToBaseline: true, actor: 'bob', atMs: kill.atMs } } });
      expect(await changeAt(2n)).toEqual({ revision: 2n, names: [], emergency: true });
      expect((await store.setEmergency({ ...kill, killSwitch: true })).outcome).toBe('unchanged');
      expect((await store.load(2n)).emergency).toMatchObject({ killSwitch: true, rollbackToBaseline: true });
    });

    it('gives what another tool wrote, changed or deleted one new revision, once', async () => {
      await store.setFlag({ name: 'a', text: '1', base: undefined });
      await under.hset('a', '2');
      await under.hset('b', '3');
      const adopted = await store.load(1n);
      expect(adopted.revision).toBe(2n);
      expect([adopted.flags.get('a')?.revision, adopted.flags.get('b')?.revision]).toEqual([2n, 2n]);
      const change = await changeAt(2n);
      expect([...(change?.names ?? [])].sort()).toEqual(['a', 'b']);
      expect((await store.load(2n)).revision).toBe(2n);
      await under.hdel('a');
      const removed = await store.load(2n);
      expect([removed.revision, [...removed.flags.keys()]]).toEqual([3n, ['b']]);
    });

    it('never falls below a revision that is known, also when it was emptied', async () => {
      await under.empty();
      expect(await store.load(41n)).toMatchObject({ revision: 42n, reset: true });
      expect(await store.load(42n)).toMatchObject({ revision: 42n, reset: false });
    });

    it('remembers what was applied from the file, and does nothing the second time', async () => {
      await store.setFlag({ name: 'a', text: '1', base: undefined, fileDigest: 'x' });
      await store.setFlag({ name: 'a', text: '2', base: '1' });
      expect(await store.setFlag({ name: 'a', text: '1', base: '2', fileDigest: 'x' })).toMatchObject({ outcome: 'unchanged' });
      await store.setEmergency({ ...kill, killSwitch: true, fileDigest: 'e' });
      await store.setEmergency({ ...kill, killSwitch: false });
      expect(await store.setEmergency({ ...kill, killSwitch: true, fileDigest: 'e' })).toMatchObject({ outcome: 'unchanged', state: { emergency: { killSwitch: false } } });
      expect(Object.fromEntries(await store.fileDigests())).toEqual({ a: 'x', emergency: 'e' });
      expect((await store.read(['a'])).flags.get('a')?.text).toBe('2');
    });

    it('reads some flags, and leaves out those that are not there', async () => {
      await store.setFlag({ name: 'a', text: '1', base: undefined });
      const state = await store.read(['a', 'b']);
      expect([state.revision, [...state.flags.keys()]]).toEqual([1n, ['a']]);
      expect((await store.read([])).flags.size).toBe(0);
    });

    it('adds up decisions', async () => {
      await store.addDecisions(new Map([['a', { enabled: 2n, disabled: 0n }]]));
      await store.addDecisions(new Map([['a', { enabled: 1n, disabled: 4n }]]));
      expect(await store.decisions('a')).toEqual({ enabled: 3n, disabled: 4n });
      expect(await store.decisions('b')).toEqual({ enabled: 0n, disabled: 0n });
    });
  });
}
