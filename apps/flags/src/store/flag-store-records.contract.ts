import { beforeEach, describe, expect, it } from '@jest/globals';
import type { FlagStore } from './flag-store.ts';
import { kill, revisionOf, startedStore, type StoreUnderTest } from './flag-store.contract.ts';

/** What every flag store does beside the flags: records that writes depend on, the file's digests, leases and counters. */
export function flagStoreRecordsContract(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`what the ${name} flag store holds beside the flags`, () => {
    let store: FlagStore;
    const started = startedStore(create);
    const { changeAt } = started;
    beforeEach(() => {
      ({ store } = started.current());
    });

    it('refuses a write whose record has changed, and removes a record that the write settles in the same step', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      for (const id of ['one', 'two', 'three']) await store.putRecord({ ...kill, kind: 'pending', id, text: '{}' });
      const on = (id: string, text = '{}', settles = true) => ({ dependsOn: { kind: 'pending', id, text, settles } as const });
      for (const other of [on('one', '{"of":"before"}'), on('nobody')]) {
        expect(await store.setFlag({ ...kill, name: 'a', text: '2', base: '1', ...other })).toEqual({ outcome: 'superseded' });
        expect(await store.deleteFlag({ ...kill, name: 'a', base: '1', ...other })).toEqual({ outcome: 'superseded' });
        expect((await store.putRecord({ ...kill, kind: 'rollouts', id: 'a', text: '{}', ...other })).outcome).toBe('stale');
      }
      expect((await store.setFlag({ ...kill, name: 'a', text: '2', base: '1', ...on('one', '{}', false) })).outcome).toBe('written');
      // Also one that changes nothing of the flag has a revision then, so that everybody hears of the record.
      expect((await store.setFlag({ ...kill, name: 'a', text: '2', base: '2', ...on('one') })).outcome).toBe('written');
      expect((await store.putRecord({ ...kill, kind: 'rollouts', id: 'a', text: '{}', ...on('two') })).outcome).toBe('written');
      const last = await store.deleteFlag({ ...kill, name: 'a', base: '2', ...on('three') });
      expect((await changeAt(revisionOf(last)))?.records).toBe(true);
      const state = await store.load({ revision: 0n, epoch: '' });
      expect([[...state.records.pending], [...state.records.rollouts.keys()], state.revision]).toEqual([[], ['a'], revisionOf(last)]);
    });

    it('says of a flag that is not there whether it is killed', async () => {
      const killed = await store.killFlag('gone', kill, true);
      expect(killed).toMatchObject({ outcome: 'written', state: { kills: new Map([['gone', kill]]), flags: new Map() } });
      expect((await store.read(['gone', 'other'])).kills).toEqual(new Map([['gone', kill]]));
      expect(await store.reviveFlag('gone', kill)).toMatchObject({ outcome: 'written', state: { kills: new Map() } });
      expect((await store.read(['gone'])).kills).toEqual(new Map());
    });

    it('takes over what was applied from the file when it is settled, where that is known', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined, fileDigest: 'x' });
      const known = await store.load({ revision: 1n, epoch: '' });
      await store.settle({ ...kill, known, summary: 'settled' });
      expect(Object.fromEntries(await store.fileDigests())).toEqual({ a: 'x' });
      await store.settle({ ...kill, known, summary: 'settled', fileDigests: new Map([['b', 'y'], ['c', 'z']]) });
      expect(Object.fromEntries(await store.fileDigests())).toEqual({ b: 'y', c: 'z' });
    });

    it('adds decisions that are sent again once', async () => {
      const one = new Map([['a', { enabled: 2n, disabled: 1n }]]);
      for (const number of [1, 1, 2, 1]) await store.addDecisions(one, { source: 'one', number });
      expect(await store.decisions('a')).toEqual({ enabled: 4n, disabled: 2n });
    });

    it('remembers what was applied from the file, and does nothing the second time', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined, fileDigest: 'x' });
      await store.setFlag({ ...kill, name: 'a', text: '2', base: '1' });
      expect(await store.setFlag({ ...kill, name: 'a', text: '1', base: '2', fileDigest: 'x' })).toMatchObject({ outcome: 'unchanged' });
      await store.setEmergency({ ...kill, killSwitch: true, fileDigest: 'e' });
      await store.setEmergency({ ...kill, killSwitch: false });
      expect(await store.setEmergency({ ...kill, killSwitch: true, fileDigest: 'e' })).toMatchObject({ outcome: 'unchanged', state: { emergency: { killSwitch: false } } });
      expect(Object.fromEntries(await store.fileDigests())).toEqual({ a: 'x', emergency: 'e' });
      expect((await store.read(['a'])).flags.get('a')?.text).toBe('2');
    });

    it('gives a lease to one owner at a time', async () => {
      expect(await store.takeLease('one', 60_000)).toBe(true);
      expect(await store.takeLease('two', 60_000)).toBe(false);
      expect(await store.takeLease('one', 60_000)).toBe(true);
    });

    it('adds up decisions', async () => {
      await store.addDecisions(new Map([['a', { enabled: 2n, disabled: 0n }]]), { source: 'one', number: 1 });
      await store.addDecisions(new Map([['a', { enabled: 1n, disabled: 4n }]]), { source: 'two', number: 1 });
      expect(await store.decisions('a')).toEqual({ enabled: 3n, disabled: 4n });
      expect(await store.decisions('b')).toEqual({ enabled: 0n, disabled: 0n });
    });

    it('reads some flags, and leaves out those that are not there', async () => {
      await store.setFlag({ ...kill, name: 'a', text: '1', base: undefined });
      const state = await store.read(['a', 'b']);
      expect([state.revision, [...state.flags.keys()]]).toEqual([1n, ['a']]);
      expect((await store.read([])).flags.size).toBe(0);
    });
  });
}
