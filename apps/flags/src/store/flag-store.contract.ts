import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { problemOf, readEntry } from '../audit/audit-entry.ts';
import type { FlagChange, FlagStore, RecordKind, StoredAuditEntry, WriteResult } from './flag-store.ts';

/** A store under test, and what another tool does behind its back. */
export interface StoreUnderTest {
  readonly store: FlagStore;
  hset(name: string, text: string): Promise<void>;
  hdel(name: string): Promise<void>;
  /** Writes a record beside the flags, or removes it. */
  putByHand(kind: RecordKind, id: string, text: string | undefined): Promise<void>;
  empty(): Promise<void>;
  dispose(): Promise<void>;
}

export const kill = { actor: 'alice', reason: 'it burns', atMs: 1_700_000_000_000 };

export function revisionOf(result: WriteResult): bigint {
  if (result.outcome !== 'written') throw new Error(`the write was ${result.outcome}`);
  return result.state.revision;
}

/** Starts a store before each test and disposes of it afterwards. */
export function startedStore(create: () => Promise<StoreUnderTest>) {
  let under: StoreUnderTest;
  let changes: FlagChange[];
  let wake: () => void;

  beforeEach(async () => {
    under = await create();
    changes = [];
    wake = () => undefined;
    let connections = 0;
    await new Promise<void>((resolve) => {
      under.store.start({
        onChange: (change) => {
          changes.push(change);
          wake();
        },
        onConnected: () => void (++connections === 2 && resolve()),
        onPeerMessage: () => undefined,
      });
    });
  });
  afterEach(() => under.dispose());

  return {
    current: () => ({ under, store: under.store }),
    /** What was announced of a revision, once it or a later one was. */
    changeAt: async (revision: bigint): Promise<FlagChange | undefined> => {
      while (!changes.some((change) => change.revision >= revision)) await new Promise<void>((resolve) => (wake = resolve));
      return changes.find((change) => change.revision === revision);
    },
  };
}

/** What every flag store does. */
export function flagStoreContract(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`the ${name} flag store`, () => {
    let under: StoreUnderTest;
    let store: FlagStore;
    const started = startedStore(create);
    const { changeAt } = started;
    beforeEach(() => {
      ({ under, store } = started.current());
    });

    it('starts empty, without emergency, at revision 0', async () => {
      expect(await store.load({ revision: 0n, epoch: '' })).toMatchObject({ revision: 0n, lost: false, flags: new Map(), emergency: { killSwitch: false, rollbackToBaseline: false } });
    });

    it('raises the revision by one with each write, gives it to the flag, and announces it', async () => {
      const first = await store.setFlag({ ...kill, name: 'a', text: '{"enabled":true}', base: undefined });
      const second = await store.setFlag({ ...kill, name: 'b', text: '{}', base: undefined });
      expect([revisionOf(first), revisionOf(second)]).toEqual([1n, 2n]);
      expect(await changeAt(2n)).toEqual({ revision: 2n, names: ['b'], emergency: false, records: false });
      const state = await store.load({ revision: 2n, epoch: '' });
      expect(state.flags.get('a')).toEqual({ text: '{"enabled":true}', revision: 1n, kill: undefined });
      expect(state.revision).toBe(2n);
    });

    it('refuses a write that was built on another text, or on none, and changes nothing', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      expect(await store.setFlag({ ...kill, name: 'a', text: '2', base: undefined })).toEqual({ outcome: 'stale' });
      expect(await store.setFlag({ ...kill, name: 'a', text: '2', base: 'other' })).toEqual({ outcome: 'stale' });
      expect(await store.setFlag({ ...kill, name: 'new', text: '2', base: '1' })).toEqual({ outcome: 'stale' });
      expect(await store.revision()).toBe(1n);
    });

    it('refuses a write for a revision that the flag is not at', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      expect(await store.setFlag({ ...kill, name: 'a', text: '2', base: '1', ifRevision: 7n })).toEqual({ outcome: 'revision-mismatch', revision: 1n });
      expect((await store.setFlag({ ...kill, name: 'a', text: '2', base: '1', ifRevision: 1n })).outcome).toBe('written');
    });

    it('does not raise the revision for the same text', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      expect((await store.setFlag({ ...kill, name: 'a', text: '1', base: '1' })).outcome).toBe('unchanged');
      expect(await store.revision()).toBe(1n);
    });

    it('keeps a kill through writes of the flag, its deletion and its return, until a revive', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      const killed = await store.killFlag('a', kill);
      expect(killed).toMatchObject({ outcome: 'written', names: ['a'] });
      expect(killed.outcome === 'written' && killed.state.flags.get('a')).toEqual({ text: '1', revision: 2n, kill });
      await store.setFlag({ ...kill, name: 'a', text: '{"killSwitch":false}', base: '1' });
      await under.hdel('a');
      await store.load({ revision: 3n, epoch: '' });
      await under.hset('a', '{"killSwitch":false}');
      expect((await store.load({ revision: 4n, epoch: '' })).flags.get('a')?.kill).toEqual(kill);
      expect((await store.reviveFlag('a', kill)).outcome).toBe('written');
      expect((await store.load({ revision: 6n, epoch: '' })).flags.get('a')?.kill).toBeUndefined();
    });

    it('keeps the first kill when a second one comes, and lets a revive of a living flag be', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      await store.killFlag('a', kill);
      expect((await store.killFlag('a', { ...kill, actor: 'bob' })).outcome).toBe('unchanged');
      expect((await store.read(['a'])).flags.get('a')?.kill?.actor).toBe('alice');
      await store.reviveFlag('a', kill);
      expect((await store.reviveFlag('a', kill)).outcome).toBe('unchanged');
    });

    it('does not know what to kill or revive when there is no such flag', async () => {
      expect(await store.killFlag('a', kill)).toEqual({ outcome: 'not-found' });
      expect(await store.reviveFlag('a', kill)).toEqual({ outcome: 'not-found' });
    });

    it('sets each emergency switch alone, and announces it', async () => {
      await store.setEmergency({ ...kill, killSwitch: true });
      const written = await store.setEmergency({ ...kill, actor: 'bob', rollbackToBaseline: true });
      expect(written).toMatchObject({ outcome: 'written', state: { revision: 2n, emergency: { killSwitch: true, rollbackToBaseline: true, actor: 'bob', atMs: kill.atMs } } });
      expect(await changeAt(2n)).toEqual({ revision: 2n, names: [], emergency: true, records: false });
      expect((await store.setEmergency({ ...kill, killSwitch: true })).outcome).toBe('unchanged');
      expect((await store.load({ revision: 2n, epoch: '' })).emergency).toMatchObject({ killSwitch: true, rollbackToBaseline: true });
    });

    it('gives what another tool wrote, changed or deleted one new revision, once', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      await under.hset('a', '2');
      await under.hset('b', '3');
      const adopted = await store.load({ revision: 1n, epoch: '' });
      expect(adopted.revision).toBe(2n);
      expect([adopted.flags.get('a')?.revision, adopted.flags.get('b')?.revision]).toEqual([2n, 2n]);
      const change = await changeAt(2n);
      expect([...(change?.names ?? [])].sort()).toEqual(['a', 'b']);
      expect((await store.load({ revision: 2n, epoch: '' })).revision).toBe(2n);
      await under.hdel('a');
      const removed = await store.load({ revision: 2n, epoch: '' });
      expect([removed.revision, [...removed.flags.keys()]]).toEqual([3n, ['b']]);
    });

    it('is as it is known until anybody writes to it: the API, or another tool', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      const known = await store.load({ revision: 1n, epoch: '' });
      expect(await store.check(known)).toEqual(known.auditHead);
      await under.hset('a', '2');
      expect(await store.check(known)).toBeUndefined();
      const seen = await store.load(known);
      expect(await store.check(seen)).toEqual({ ...seen.auditHead, count: 2 });
      await under.putByHand('segments', 'staff', '{}');
      expect(await store.check(seen)).toBeUndefined();
      const both = await store.load(seen);
      await store.killFlag('a', kill);
      expect(await store.check(both)).toBeUndefined();
    });

    it('audits what another tool wrote before a kill too, and what it wrote to many flags in a chain', async () => {
      const { epoch } = await store.load({ revision: 0n, epoch: '' });
      const names = Array.from({ length: 120 }, (_, index) => `flag_${index}`);
      for (const name of names) await under.hset(name, '{}');
      await store.killFlag('flag_7', kill);
      const seen = await store.load({ revision: 0n, epoch });
      expect(seen.revision).toBe(4n);
      expect(seen.auditHead.count).toBe(121);
      let previous = '';
      for await (const batch of store.auditTrail()) {
        for (const entry of batch) {
          expect(problemOf(entry, previous)).toBeUndefined();
          previous = entry.hash;
        }
      }
      expect(previous).toBe(seen.auditHead.hash);
      expect((await store.load(seen)).revision).toBe(4n);
    });

    it('says that it has lost data when it was emptied, changes nothing then, and takes no write, until that is settled', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      const known = await store.load({ revision: 1n, epoch: '' });
      expect(known.epoch).not.toBe('');
      await under.empty();
      await under.hset('raw', '1');
      expect(await store.load(known)).toMatchObject({ lost: true, revision: 0n });
      await expect(store.setFlag({ ...kill, name: 'b', text: '1', base: undefined })).rejects.toMatchObject({ reason: 'STORE_LOST' });
      await expect(store.killFlag('raw', kill)).rejects.toMatchObject({ reason: 'STORE_LOST' });
      await store.settle({ ...kill, known, summary: 'settled' });
      const settled = await store.load(known);
      expect(settled).toMatchObject({ lost: false, revision: 3n });
      expect([...settled.flags.keys()]).toEqual(['raw']);
      expect(settled.epoch).not.toBe(known.epoch);
    });

    it('says that it has lost data when its revision falls below the one that is known', async () => {
      const { epoch } = await store.load({ revision: 0n, epoch: '' });
      expect(await store.load({ revision: 41n, epoch })).toMatchObject({ lost: true, revision: 0n });
    });

    it('says that it has lost data when the trail at the revision that is known is another one, and not because the trail is shorter', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      const known = await store.load({ revision: 0n, epoch: '' });
      await store.setFlag({ ...kill, name: 'a', text: '2', base: '1' });
      expect(await store.load(known)).toMatchObject({ lost: false, revision: 2n, auditHead: { count: 2, revision: 2n } });
      const other = { ...known, revision: 2n, auditHead: { ...known.auditHead, hash: 'of another history' } };
      expect(await store.load(other)).toMatchObject({ lost: true, revision: 2n });
      expect(await store.check(other)).toBeUndefined();
      expect(await store.load({ ...other, auditHead: { ...other.auditHead, revision: 7n } })).toMatchObject({ lost: false });
    });

    it('appends every change to a chain of hashes, with the text before and after it (F22)', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      await under.hset('a', 'é2');
      await store.setFlag({ ...kill, name: 'a', text: '3', base: 'é2', action: 'import' });
      await store.killFlag('a', kill);
      await store.setEmergency({ ...kill, killSwitch: true });
      await store.putRecord({ ...kill, kind: 'tokens', id: 't', text: 'secret hash', shown: 'a token' });
      await under.hdel('a');
      await store.load({ revision: 0n, epoch: '' });
      const entries: StoredAuditEntry[] = [];
      for await (const batch of store.auditTrail()) entries.push(...batch);
      let previous = '';
      for (const entry of entries) {
        expect(problemOf(entry, previous)).toBeUndefined();
        previous = entry.hash;
      }
      expect(entries.map((entry) => readEntry(entry)).map((entry) => [entry?.action, entry?.flag, entry?.before, entry?.after])).toEqual([
        ['set', 'a', undefined, '1'],
        ['external', 'a', '1', 'é2'],
        ['import', 'a', 'é2', '3'],
        ['kill', 'a', undefined, JSON.stringify(kill)],
        ['emergency', '', undefined, expect.stringContaining('"killSwitch":true')],
        ['tokens.set', 't', undefined, 'a token'],
        ['external', 'a', '3', undefined],
      ]);
      expect(await store.auditHead()).toEqual({ count: 7, hash: previous });
      expect((await store.newestAudit(undefined, 2)).map(({ id }) => id)).toEqual([entries[6]?.id, entries[5]?.id]);
    });

    it('notices what another tool does to segments and tokens, takes a bare definition over, and audits it as external, without the hash of a token (F22)', async () => {
      await store.putRecord({ ...kill, kind: 'segments', id: 'staff', text: '{"includedKeys":["a"]}' });
      const first = await store.load({ revision: 1n, epoch: '' });
      await under.putByHand('segments', 'staff', '{"includedKeys":["b"]}');
      await under.putByHand('tokens', 't1', '{"name":"eve","role":"admin","hash":"0123"}');
      const seen = await store.load(first);
      expect(seen.revision).toBe(2n);
      expect(JSON.parse(seen.records.segments.get('staff') ?? '')).toEqual({ revision: 2, definition: '{"includedKeys":["b"]}' });
      expect((await store.load(seen)).revision).toBe(2n);
      await under.putByHand('tokens', 't1', undefined);
      expect((await store.load(seen)).revision).toBe(3n);
      const entries = (await store.newestAudit(undefined, 10)).map((entry) => readEntry(entry));
      expect(entries.map((entry) => [entry?.action, entry?.flag, entry?.before])).toEqual([
        ['tokens.external', 't1', expect.stringContaining('eve')],
        ['tokens.external', 't1', undefined],
        ['segments.external', 'staff', '{"includedKeys":["a"]}'],
        ['segments.set', 'staff', undefined],
      ]);
      expect(JSON.stringify(entries.map((entry) => [entry?.before, entry?.after]))).not.toContain('0123');
    });
  });
}
