import { BaselineSample, Evidence, type Observation } from '@mlx-serving/policy';
import { SHIPPED_TRIGGERS, simulateRollout, type SimulatedRollout, type SimulatedTraffic, type SimulationOptions } from '@mlx-serving/testing';
import { quantile } from '../statistics.ts';
import type { BenchCase, BenchSuite } from '../suite.ts';

const HEALTHY_ROLLOUTS = 10_000;
const CHANGED_ROLLOUTS = 300;
const HOUR_OF_REQUESTS = 36_000;
const PEER_NAME = 'bare ratios';
const traffic: SimulatedTraffic = { share: 0.1, requests: 1_000_000, requestsPerSecond: 10, errorRate: 0.002, sigma: 0.5 };

/** Every mixture of splitting, error rates and tails, an equal part of the rollouts each. */
const healthyTraffic = [undefined, 2_000].flatMap((users) =>
  [0.002, 0.01, 0.05].flatMap((errorRate) => [0.5, 1, 1.5].map((sigma): SimulatedTraffic => ({ ...traffic, requests: HOUR_OF_REQUESTS, errorRate, sigma, ...(users === undefined ? {} : { users }) }))),
);

function simulate(count: number, changed: Partial<SimulatedTraffic>, options: SimulationOptions = {}): SimulatedRollout[] {
  return Array.from({ length: count }, (_, seed) => simulateRollout(seed + 1, { ...traffic, ...changed }, options));
}

let healthy: SimulatedRollout[] | undefined;

function healthyRollouts(): SimulatedRollout[] {
  const each = Math.ceil(HEALTHY_ROLLOUTS / healthyTraffic.length);
  return (healthy ??= healthyTraffic.flatMap((mixture) => simulate(each, mixture, { watchesBareRatios: true })));
}

const percent = (rollouts: readonly SimulatedRollout[], holds: (rollout: SimulatedRollout) => boolean): number => (100 * rollouts.filter(holds).length) / rollouts.length;

const falseRollbacks: BenchCase = {
  name: `false rollbacks of ${HEALTHY_ROLLOUTS} healthy canaries, an hour each`,
  unit: '%',
  ours: async () => percent(healthyRollouts(), ({ end }) => end === 'rolled_back'),
  peerName: PEER_NAME,
  peer: async () => percent(healthyRollouts(), ({ bareRatiosFired }) => bareRatiosFired),
  goal: { of: 'value', most: 1 },
};

function detection(name: string, most: number, changed: Partial<SimulatedTraffic>): BenchCase {
  const ours = async (): Promise<number> => quantile(simulate(CHANGED_ROLLOUTS, changed).map(({ end, canaryRequests }) => (end === 'rolled_back' ? canaryRequests : Number.POSITIVE_INFINITY)), 0.5);
  return { name: `median canary requests to roll back, ${name}`, unit: 'requests', ours, goal: { of: 'value', most } };
}

const promotesOnly: SimulationOptions = { promotes: true, settings: { ...SHIPPED_TRIGGERS, triggers: [] } };

const falsePromotions: BenchCase = {
  name: 'false promotions of a canary 1.5 times slower that nothing rolls back',
  unit: '%',
  ours: async () => percent([0.5, 1, 1.5].flatMap((sigma) => simulate(CHANGED_ROLLOUTS, { sigma, canarySlowdown: 1.5, requests: HOUR_OF_REQUESTS }, promotesOnly)), ({ end }) => end === 'promoted'),
  goal: { of: 'value', most: 1 },
};

const promotion: BenchCase = {
  name: 'canary requests to promote a healthy one, P95',
  unit: 'requests',
  ours: async () => quantile([0.5, 1, 1.5].flatMap((sigma) => simulate(CHANGED_ROLLOUTS, { sigma, requests: 100_000 }, promotesOnly)).map(({ end, canaryRequests }) => (end === 'promoted' ? canaryRequests : Number.POSITIVE_INFINITY)), 0.95),
  goal: { of: 'value', most: 1_100 },
};

const cost: BenchCase = {
  name: 'taking one report into the evidence',
  unit: 'µs',
  ours: async () => microsecondsPerReport(1_000_000),
  goal: { of: 'value', most: 1 },
};

function microsecondsPerReport(count: number): number {
  const baseline = new BaselineSample();
  const observations = Array.from({ length: 1_000 }, (_, index): Observation => {
    const latency = 100 + ((index * 7919) % 1_000);
    return { canary: index % 10 === 0, failed: index % 100 === 0, values: [latency, latency / 4, latency / 50, latency / 60, 40, 1 / 41] };
  });
  for (const { values } of observations) baseline.add(values);
  const evidence = new Evidence(0.1, baseline);
  const start = performance.now();
  for (let index = 0; index < count; index++) evidence.observe(observations[index % observations.length] as Observation);
  return ((performance.now() - start) * 1_000) / count;
}

/** How the verdicts of SPEC 6 do over many simulated rollouts, beside thresholds on bare ratios. */
export const suite: BenchSuite = {
  name: 'canary',
  description: 'simulated rollouts, judged at every report',
  pairs: 1,
  cases: [
    cost,
    detection('1.5 times slower, sigma 0.5', 65, { canarySlowdown: 1.5 }),
    detection('1.5 times slower, sigma 1', 260, { canarySlowdown: 1.5, sigma: 1 }),
    detection('2 times slower, sigma 0.5', 25, { canarySlowdown: 2 }),
    detection('2 times slower, sigma 1', 90, { canarySlowdown: 2, sigma: 1 }),
    detection('errors 0.2 to 2 %', 330, { canaryErrorRate: 0.02 }),
    detection('errors 1 to 5 %', 200, { errorRate: 0.01, canaryErrorRate: 0.05 }),
    detection('errors 1 to 2 %', 1_900, { errorRate: 0.01, canaryErrorRate: 0.02 }),
    promotion,
    falsePromotions,
    falseRollbacks,
  ],
};
