import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { StreamOutcome, StreamReportSchema } from '@mlx-serving/contracts';
import { RolloutJudge } from './rollout-judge.ts';
import type { Rollout } from './rollout-record.ts';

/** As a gateway names a key. */
const hashOf = (index: number): string => (index * 2_654_435_761).toString(16).padStart(16, '0').slice(-16);

describe('RolloutJudge', () => {
  let judge: RolloutJudge;
  let sent = 0;
  beforeEach(() => {
    sent = 0;
    judge = new RolloutJudge({ broadcast: () => ({ sent: [], unreachable: [] }) as never });
    judge.follow([['beta', { stage: 0, stages: [{ percentage: 20 }] } as unknown as Rollout]]);
  });

  /** So many requests; of each fifth the flag's share decides that it is on. */
  function observe(count: number, more: (on: boolean, index: number) => object): void {
    for (const end = sent + count; sent < end; sent++) {
      const on = sent % 5 === 0;
      const decision = { flagReasons: { beta: on ? 'ROLLED_OUT' : 'NOT_ROLLED_OUT' }, routingKeyHash: hashOf(sent) };
      judge.observe(create(StreamReportSchema, { decision, flagKeyHash: hashOf(sent), outcome: StreamOutcome.OK, durationMs: 10 + (sent % 7), ...more(on, sent) }));
    }
  }
  const failing = (on: boolean): StreamOutcome => (on ? StreamOutcome.FAILED : StreamOutcome.OK);

  it('is not troubled while requests are alike', () => {
    observe(2_000, () => ({}));
    expect(judge.problemOf('beta')).toBeUndefined();
  });

  it('counts each user once, as users are what a flag splits, whatever the canary hashes', () => {
    observe(200, () => ({}));
    observe(1_000, (on, index) => ({ flagKeyHash: hashOf(on ? 0 : index), outcome: failing(on) }));
    expect(judge.problemOf('beta')).toBeUndefined();
    observe(200, (on) => ({ outcome: failing(on) }));
    expect(judge.problemOf('beta')).toMatch(/^What runs with the flag fails more often, after \d+ requests with the flag/);
  });

  it('finds requests slow for which nobody waits to the end', () => {
    observe(600, () => ({}));
    observe(600, (on) => (on ? { outcome: StreamOutcome.CANCELLED, durationMs: 5_000 } : {}));
    expect(judge.problemOf('beta')).toContain('is slower');
  });

  it('knows nothing of a flag that is not rolled out any more', () => {
    observe(600, (on) => ({ outcome: failing(on) }));
    judge.follow([]);
    expect(judge.problemOf('beta')).toBeUndefined();
  });
});
