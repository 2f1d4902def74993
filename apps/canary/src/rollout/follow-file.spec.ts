import { describe, expect, it } from '@jest/globals';
import { canaryRouting } from '@mlx-serving/policy';
import { followFile } from './follow-file.ts';
import { advanced, type Cause, emptyState, rolledBack, type RolloutState, started } from './rollout-state.ts';

const cause: Cause = { nowMs: 1, actor: 'someone', reason: 'a test' };
const fileOf = (rolloutPercentage: number, hashKey = 'request_id') => canaryRouting.parse({ enabled: true, rolloutPercentage, strategy: 'hash', hashKey, enableCache: true, cacheSize: 10 });
const stages = [10, 50].map((percentage) => ({ percentage, holdMs: 0, gate: false }));

describe('followFile', () => {
  const first = followFile(emptyState, fileOf(1), cause);
  const deployed = (): RolloutState => started(first, { id: 'by-hand', source: 'deploy', file: first.file, stages }, cause);

  it('begins a rollout with the first file, and with one that routes otherwise', () => {
    expect(first).toMatchObject({ source: 'file', percentage: 1, phase: 'running' });
    expect(followFile(first, fileOf(1), cause)).toBe(first);
    expect(followFile(first, fileOf(2), cause)).toMatchObject({ percentage: 2 });
    expect(followFile(first, fileOf(2), cause).id).not.toBe(first.id);
  });

  it('takes a file that says what was deployed for the same rollout, also when that is a stage further', () => {
    expect(followFile(deployed(), fileOf(10), cause)).toEqual({ ...deployed(), file: expect.stringContaining('10') });
    const further = advanced(deployed(), cause);
    expect(followFile(further, fileOf(10), cause)).toMatchObject({ id: 'by-hand', percentage: 50, stage: 1 });
  });

  it('lets a rollback be one when the file then says 0, at once or by steps', () => {
    for (const gradual of [true, false]) {
      const back = rolledBack(deployed(), { gradual, cooldownMs: 1_000 }, cause);
      expect(followFile(back, fileOf(0), cause)).toMatchObject({ id: 'by-hand', phase: back.phase, percentage: back.percentage, cooldownUntilMs: 1_001 });
    }
  });

  it('begins anew when the file wants another share, or another split', () => {
    expect(followFile(deployed(), fileOf(25), cause)).toMatchObject({ source: 'file', percentage: 25 });
    expect(followFile(deployed(), fileOf(10, 'user_id'), cause)).toMatchObject({ source: 'file', percentage: 10 });
    expect(followFile(rolledBack(deployed(), { gradual: false, cooldownMs: 0 }, cause), fileOf(10), cause)).toMatchObject({ source: 'file', phase: 'running', percentage: 10 });
  });
});
