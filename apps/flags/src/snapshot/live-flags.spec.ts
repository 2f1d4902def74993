import { beforeEach, describe, expect, it } from '@jest/globals';
import { NO_AUDIT, NO_EMERGENCY, type EmergencyRecord, type KillRecord, type StoredState } from '../store/flag-store.ts';
import { type LiveChange, LiveFlags } from './live-flags.ts';

const kill = { actor: 'alice', reason: 'it burns', atMs: 17 };
const text = '{"enabled":true}';

function state(revision: bigint, killed: readonly string[] = [], emergency: EmergencyRecord = NO_EMERGENCY): StoredState {
  const kills = new Map<string, KillRecord>(killed.map((name) => [name, kill]));
  const records = { segments: new Map(), tokens: new Map(), pending: new Map(), rollouts: new Map(), 'api-keys': new Map() };
  return { revision, epoch: 'e', lost: false, kills, emergency, auditHead: NO_AUDIT, records, flags: new Map([['a', { text, revision, kill: kills.get('a') }]]) };
}

describe('the flags in force', () => {
  let changes: LiveChange[];
  let live: LiveFlags;
  beforeEach(() => {
    changes = [];
    live = new LiveFlags({ onChange: (change) => changes.push(change), onUndecodable: () => undefined });
    live.replace(state(1n));
  });

  it('tell the gateways that a flag lives which somebody revived while its kill was still latched here', () => {
    live.latch('a', kill);
    live.replace(state(2n, ['a']));
    live.replace(state(3n));
    expect(live.get('a')?.kill).toBeDefined();
    live.release(['a'], false);
    expect(live.get('a')?.kill).toBeUndefined();
    expect(changes.at(-1)).toMatchObject({ baseRevision: live.revision - 1n, revision: live.revision, changed: [{ name: 'a', kill: undefined }] });
  });

  it('tell the gateways of an emergency that somebody ended while it was still latched here', () => {
    const on = { ...NO_EMERGENCY, ...kill, killSwitch: true };
    live.latchEmergency(on);
    live.replace(state(2n, [], on));
    live.replace(state(3n));
    live.release([], true);
    expect(changes.at(-1)?.emergency).toMatchObject({ killSwitch: false });
  });

  it('say nothing when a kill is released that the store has', () => {
    live.latch('a', kill);
    live.replace(state(2n, ['a']));
    const said = changes.length;
    live.release(['a'], true);
    expect([live.get('a')?.kill, changes.length]).toEqual([kill, said]);
  });

  it('know of no kill that was lifted while its flag was not there', () => {
    live.apply({ revision: 2n, flags: new Map(), kills: new Map([['gone', kill]]), emergency: NO_EMERGENCY }, ['gone'], false);
    expect([...live.kills.keys()]).toEqual(['gone']);
    live.apply({ revision: 3n, flags: new Map(), kills: new Map(), emergency: NO_EMERGENCY }, ['gone'], false);
    expect([...live.kills.keys()]).toEqual([]);
  });
});
