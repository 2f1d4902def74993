import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from '@jest/globals';
import { CanaryComparisonSchema, CanaryPlanRequestSchema } from '@mlx-serving/contracts';
import { planRollout } from './plan-rollout.ts';

const plan = (requestsPerSecond: number) => {
  const source = { compare: () => create(CanaryComparisonSchema), requestsPerSecond: () => requestsPerSecond, latencySigma: () => 0.5, countsUsers: () => false, blockMs: () => 5_000 };
  return planRollout(create(CanaryPlanRequestSchema, { percentage: 10 }), source).stages[0];
};

describe('planRollout', () => {
  it('tells no time for a slow canary that is shorter than the blocks of time that a latency trigger needs', () => {
    expect(plan(1)?.secondsToDetectSlow).toBeGreaterThan(100);
    expect(plan(1_000)).toMatchObject({ requestsToDetectSlow: 1_000n, secondsToDetectSlow: 10 });
    expect(plan(1_000)?.secondsToDetectFailing).toBeLessThan(10);
  });
});
