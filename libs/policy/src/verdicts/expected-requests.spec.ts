import { describe, expect, it } from '@jest/globals';
import { SHIPPED_TRIGGERS, simulateRollout, type SimulatedTraffic, type SimulationOptions } from '@mlx-serving/testing';
import { expectRequests } from './expected-requests.ts';

const usual = { share: 0.1, errorRate: 0.01, canaryErrorRate: 0.05, slowdown: 1.5, sigma: 0.5 };

/** What it took in the median of some simulated rollouts. */
function seen(changed: Partial<SimulatedTraffic>, options: SimulationOptions = {}): number {
  const traffic: SimulatedTraffic = { share: 0.1, requests: 40_000, requestsPerSecond: 10, errorRate: 0.01, sigma: 0.5, ...changed };
  const all = Array.from({ length: 21 }, (_, seed) => simulateRollout(seed + 1, traffic, { looksEvery: 5, ...options }).canaryRequests);
  return all.sort((a, b) => a - b)[10] ?? Number.NaN;
}

/** A plan is good when it is right within a factor of two. */
function expectNear(planned: number, found: number): void {
  expect([planned, found, planned / found < 2 && found / planned < 2]).toEqual([planned, found, true]);
}

describe('expectRequests', () => {
  it.each([0.5, 1])('knows about how long it takes to find a slow canary, with sigma %p', (sigma) => {
    expectNear(expectRequests({ ...usual, sigma }).slow, seen({ sigma, canarySlowdown: 1.5 }));
  });

  it('knows about how long it takes to find a failing one', () => {
    expectNear(expectRequests(usual).failing, seen({ canaryErrorRate: 0.05 }));
  });

  it('knows about how long it takes to promote a good one', () => {
    expectNear(expectRequests({ ...usual, errorRate: 0.002 }).promotion, seen({ errorRate: 0.002 }, { promotes: true, settings: { ...SHIPPED_TRIGGERS, triggers: [] } }));
  });

  it('needs less with a greater share, and more with a wider spread', () => {
    expect(expectRequests({ ...usual, share: 0.5 }).slow * 2).toBeLessThan(expectRequests({ ...usual, share: 0.01 }).slow * 50);
    expect(expectRequests({ ...usual, sigma: 1.5 }).slow).toBeGreaterThan(expectRequests(usual).slow);
  });
});
