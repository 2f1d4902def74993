import { describe, expect, it } from '@jest/globals';
import { create } from '@bufbuild/protobuf';
import { FlagDeltaSchema, FlagSnapshotSchema } from '@mlx-serving/contracts';
import { silentLogger } from '@mlx-serving/service-kit';
import { FlagSnapshotStore } from './flag-snapshot-store.ts';

const flag = (name: string, definition: object | string = { enabled: true }) => ({ name, definitionJson: typeof definition === 'string' ? definition : JSON.stringify(definition), revision: 1n });
const isOn = (store: FlagSnapshotStore, name: string): boolean => store.state.flags.evaluate(name, { key: 'u' }).enabled;

function stored(): FlagSnapshotStore {
  const store = new FlagSnapshotStore(silentLogger);
  store.apply(create(FlagSnapshotSchema, { revision: 5n, flags: [flag('a'), flag('b')], takenAtMs: 1_000n }));
  return store;
}

describe('FlagSnapshotStore', () => {
  it('has every flag off and says that it has seen nothing, before the first snapshot', () => {
    const store = new FlagSnapshotStore(silentLogger);
    expect([store.seen, store.ageMs(5), store.state.flags.evaluate('a', { key: 'u' }).reason]).toEqual([false, null, 'FLAG_NOT_FOUND']);
    expect(store.applyDelta(create(FlagDeltaSchema, { baseRevision: 0n, revision: 1n }), 0)).toBe(false);
  });

  it('replaces everything by a snapshot, also by one of a lower revision', () => {
    const store = stored();
    store.apply(create(FlagSnapshotSchema, { revision: 2n, flags: [flag('c')] }));
    expect([store.state.revision, isOn(store, 'a'), isOn(store, 'c')]).toEqual([2n, false, true]);
  });

  it('applies a delta that follows, and refuses one that does not', () => {
    const store = stored();
    expect(store.applyDelta(create(FlagDeltaSchema, { baseRevision: 4n, revision: 6n, removed: ['a'] }), 2_000)).toBe(false);
    expect([isOn(store, 'a'), store.ageMs(3_000)]).toEqual([true, 2_000]);
    expect(store.applyDelta(create(FlagDeltaSchema, { baseRevision: 5n, revision: 6n, removed: ['a'], changed: [flag('c')] }), 2_000)).toBe(true);
    expect([isOn(store, 'a'), isOn(store, 'b'), isOn(store, 'c'), store.ageMs(3_000)]).toEqual([false, true, true, 1_000]);
  });

  it('keeps the last good definition of a flag that cannot be read, and obeys its kill', () => {
    const store = stored();
    const unreadable = { ...flag('a', '{"enabled":'), revision: 6n };
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 5n, revision: 6n, changed: [unreadable] }), 0);
    expect(isOn(store, 'a')).toBe(true);
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 6n, revision: 7n, changed: [{ ...unreadable, kill: { actor: 'x' } }] }), 0);
    expect(isOn(store, 'a')).toBe(false);
  });

  it('gives back what it holds, so that a restart decides the same', () => {
    const store = stored();
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 5n, revision: 6n, changed: [flag('a', 'broken')], emergency: { rollbackToBaseline: true } }), 7);
    const again = new FlagSnapshotStore(silentLogger);
    again.apply(store.toSnapshot());
    expect([again.state.revision, isOn(again, 'a'), again.state.rollbackToBaseline, again.ageMs(7)]).toEqual([6n, true, true, 0]);
  });

  it('turns every flag off in an emergency', () => {
    const store = stored();
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 5n, revision: 6n, emergency: { killSwitch: true } }), 0);
    expect([isOn(store, 'a'), isOn(store, 'b')]).toEqual([false, false]);
  });

  it('holds what its own environment says (F9)', () => {
    const definition = { enabled: true, rolloutPercentage: 0, environments: { production: { rolloutPercentage: 100 } } };
    const answers = ['production', 'development', undefined].map((environment) => {
      const store = new FlagSnapshotStore(silentLogger, environment === undefined ? {} : { environment });
      store.apply(create(FlagSnapshotSchema, { revision: 1n, flags: [flag('a', definition)] }));
      return isOn(store, 'a');
    });
    expect(answers).toEqual([true, false, false]);
  });

  it('takes segments from snapshots and deltas, keeps the last good one, and gives them back (F6)', () => {
    const segment = (definitionJson: string) => ({ name: 'staff', definitionJson, revision: 1n });
    const store = new FlagSnapshotStore(silentLogger);
    store.apply(create(FlagSnapshotSchema, { revision: 1n, flags: [flag('a', { enabled: true, segments: ['staff'] })], segments: [segment('{"includedKeys":["u"]}')] }));
    expect(isOn(store, 'a')).toBe(true);
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 1n, revision: 2n, changedSegments: [segment('broken')] }), 0);
    expect(isOn(store, 'a')).toBe(true);
    const again = new FlagSnapshotStore(silentLogger);
    again.apply(store.toSnapshot());
    expect(isOn(again, 'a')).toBe(true);
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 2n, revision: 3n, changedSegments: [segment('{"excludedKeys":["u"]}')] }), 0);
    expect(isOn(store, 'a')).toBe(false);
    again.applyDelta(create(FlagDeltaSchema, { baseRevision: 2n, revision: 3n, removedSegments: ['staff'] }), 0);
    expect(isOn(again, 'a')).toBe(false);
  });

  it('names the flags whose kill ends what runs under them, once (F19)', () => {
    const aborted: string[][] = [];
    const store = new FlagSnapshotStore(silentLogger, { onAbort: (flags) => aborted.push([...flags]) });
    const kill = { actor: 'x' };
    const ending = flag('a', { enabled: true, abortInFlight: true });
    store.apply(create(FlagSnapshotSchema, { revision: 1n, flags: [ending, flag('b')] }));
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 1n, revision: 2n, changed: [{ ...ending, kill }, { ...flag('b'), kill }] }), 0);
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 2n, revision: 3n, changed: [{ ...ending, revision: 3n, kill }] }), 0);
    expect(aborted).toEqual([['a']]);
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 3n, revision: 4n, changed: [ending] }), 0);
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 4n, revision: 5n, emergency: { killSwitch: true } }), 0);
    expect(aborted).toEqual([['a'], ['a']]);
  });

  it('takes a killSwitch that another tool writes into the definition for a kill, which ends what runs under the flag too', () => {
    const aborted: string[][] = [];
    const store = new FlagSnapshotStore(silentLogger, { onAbort: (flags) => aborted.push([...flags]) });
    const running = flag('a', { enabled: true, abortInFlight: true });
    store.apply(create(FlagSnapshotSchema, { revision: 1n, flags: [running] }));
    const killed = flag('a', { enabled: true, abortInFlight: true, killSwitch: true });
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 1n, revision: 2n, changed: [killed] }), 0);
    store.applyDelta(create(FlagDeltaSchema, { baseRevision: 2n, revision: 3n, changed: [{ ...killed, kill: { actor: 'x' } }] }), 0);
    expect(aborted).toEqual([['a']]);
  });
});
