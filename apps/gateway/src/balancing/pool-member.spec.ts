import { describe, expect, it } from '@jest/globals';
import { errors } from '../errors.ts';
import type { WorkerConnection } from '../workers/worker-connection.ts';
import { PoolMember } from './pool-member.ts';

const settings = { open_after_failures: 5, open_ms: 1_000, longest_open_ms: 1_000, probe_interval_ms: 1_000, missed_probes: 3 };

function memberOf(): PoolMember {
  const worker = { address: '127.0.0.1:1', serving: true, stop: () => undefined } as unknown as WorkerConnection;
  return new PoolMember({ worker, settings: () => settings, isForcedOpen: () => false, onEvent: () => undefined });
}

describe('a place at a worker', () => {
  it('ends with its request, also one that had ended before it was given the place', () => {
    const [member, abort, ended] = [memberOf(), new AbortController(), new AbortController()];
    ended.abort(errors.CLIENT_GONE());
    const [place, late] = [member.begin(10, abort.signal), member.begin(5, ended.signal)];
    expect([place.signal.aborted, late.signal.aborted, member.load]).toEqual([false, true, 15]);
    abort.abort(errors.FEATURE_KILLED());
    expect([place, late].map(({ signal }) => (signal.reason as { reason: string }).reason)).toEqual(['FEATURE_KILLED', 'CLIENT_GONE']);
    for (const one of [place, late, late]) one.done(null);
    expect(member.load).toBe(0);
  });
});
