import { describe, expect, it } from '@jest/globals';
import { SHIPPED_TRIGGERS, simulateRollout, type SimulatedTraffic, type SimulationOptions } from '@mlx-serving/testing';

/** The bounded form of `npm run bench -- canary`: the same simulation, the same seeds, fewer and shorter rollouts. */
const traffic: SimulatedTraffic = { share: 0.1, requests: 4_000, requestsPerSecond: 10, errorRate: 0.01, sigma: 0.5 };

function simulate(count: number, changed: Partial<SimulatedTraffic>, options: SimulationOptions = {}) {
  return Array.from({ length: count }, (_, seed) => simulateRollout(seed + 1, { ...traffic, ...changed }, options));
}

function share(rollouts: ReturnType<typeof simulate>, holds: (rollout: ReturnType<typeof simulateRollout>) => boolean): number {
  return rollouts.filter(holds).length / rollouts.length;
}

function median(rollouts: ReturnType<typeof simulate>): number {
  return rollouts.map(({ canaryRequests }) => canaryRequests).sort((a, b) => a - b)[Math.floor(rollouts.length / 2)] ?? Number.NaN;
}

describe('simulated rollouts, judged at every report', () => {
  it.each([
    ['by request', {}],
    ['by request with long tails', { sigma: 1.5, errorRate: 0.05 }],
    ['by user', { users: 1_000 }],
  ])('roll back at most 1 % of healthy canaries, split %s', (_, changed) => {
    const rollouts = simulate(80, changed, { watchesBareRatios: true });
    // Of 80 rollouts one may be wrong by chance; the bench runs enough of them to see 1 %.
    expect(share(rollouts, ({ end }) => end === 'rolled_back')).toBeLessThanOrEqual(1 / 80);
    expect(share(rollouts, ({ bareRatiosFired }) => bareRatiosFired)).toBeGreaterThan(0.1);
  });

  it.each([
    ['both are slow for spells', { commonSpells: { perHour: 60, meanSeconds: 15, factor: 4 } }],
    ['the speed of both drifts, and is alike from one request to the next', { drift: { sigma: 0.7, memory: 300 } }],
  ])('roll back at most 1 %% of healthy canaries when %s', (_, disturbance) => {
    const rollouts = simulate(40, { disturbance, share: 0.5 }, { looksEvery: 10 });
    expect(share(rollouts, ({ end }) => end === 'rolled_back')).toBeLessThanOrEqual(1 / 40);
  });

  it('roll back far fewer healthy canaries than requests alone would when each process has slow spells of its own', () => {
    const traffic = { share: 0.5, sigma: 0.3, requests: 12_000, disturbance: { spells: { perHour: 20, meanSeconds: 5, factor: 3 } } };
    const [steady, hasty] = [true, false].map((timed) => share(simulate(24, traffic, { timed, looksEvery: 10 }), ({ end }) => end === 'rolled_back')) as [number, number];
    expect(hasty).toBeGreaterThan(0.2);
    expect(steady).toBeLessThanOrEqual(hasty / 3);
  });

  it('do not roll back a canary that is a little slower, as no two processes are alike', () => {
    const rollouts = simulate(24, { share: 0.5, requests: 10_000, disturbance: { unlike: 1.05 } }, { looksEvery: 10 });
    expect(share(rollouts, ({ end }) => end === 'rolled_back')).toBeLessThanOrEqual(1 / 24);
  });

  it.each([
    ['1.5 times slower', 65, { canarySlowdown: 1.5 }],
    ['2 times slower', 25, { canarySlowdown: 2 }],
    ['2 times slower with long tails', 90, { canarySlowdown: 2, sigma: 1 }],
    ['failing 5 % in place of 1 %', 200, { canaryErrorRate: 0.05, requests: 20_000 }],
  ])('find a canary that is %s within %d of its requests in the median', (_, most, changed) => {
    const rollouts = simulate(40, changed);
    expect(share(rollouts, ({ end }) => end === 'rolled_back')).toBe(1);
    expect(median(rollouts)).toBeLessThanOrEqual(most);
  });

  it('promote a healthy canary, and hardly ever one that is 1.5 times slower, even when nothing rolls it back', () => {
    const options = { promotes: true, settings: { ...SHIPPED_TRIGGERS, triggers: [] } };
    const healthy = simulate(20, { errorRate: 0.002, requests: 20_000 }, options);
    expect(share(healthy, ({ end, canaryRequests }) => end === 'promoted' && canaryRequests <= 1_100)).toBeGreaterThanOrEqual(0.95);
    expect(share(simulate(60, { canarySlowdown: 1.5, requests: 3_000 }, options), ({ end }) => end === 'promoted')).toBeLessThanOrEqual(1 / 60);
  });
});
