import { BaselineSample, Evidence, judge, type Observation } from '@mlx-serving/policy';
import { SHIPPED_TRIGGERS, simulateRollout, type SimulatedRollout, type SimulatedTraffic, type SimulationOptions } from '@mlx-serving/testing';
import { quantile } from '../statistics.ts';
import type { BenchCase, BenchSuite } from '../suite.ts';
import { rollbacksEverywhere } from '../canary/rollback-everywhere.ts';

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
  return { name: `median canary requests to roll back at 10 requests a second, ${name}`, unit: 'requests', ours, goal: { of: 'value', most } };
}

/** More than two blocks of time must be seen of a slow canary, so at higher rates time decides and not the number of requests. */
const MOST_SECONDS = 15;

function detectionTime(name: string, requestsPerSecond: number, changed: Partial<SimulatedTraffic>): BenchCase {
  const secondsOf = ({ end, canaryRequests }: SimulatedRollout): number => (end === 'rolled_back' ? canaryRequests / (requestsPerSecond * traffic.share) : Number.POSITIVE_INFINITY);
  const ours = async (): Promise<number> => quantile(simulate(CHANGED_ROLLOUTS, { ...changed, requestsPerSecond }).map(secondsOf), 0.5);
  return { name: `median time to roll back at ${requestsPerSecond} requests a second, ${name}`, unit: 's', ours, goal: { of: 'value', most: MOST_SECONDS } };
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

/** At 1,000 requests a second and a verdict every 50 ms at most, as the service gives them. */
const REPORTS_A_VERDICT = 50;

const cost: BenchCase = {
  name: 'judging one report: into the evidence, and its part of a verdict for 50 of them',
  unit: 'µs',
  ours: async () => microsecondsPerReport(1_000_000, REPORTS_A_VERDICT),
  goal: { of: 'value', most: 1 },
};

const observing: BenchCase = { name: 'taking one report into the evidence', unit: 'µs', ours: async () => microsecondsPerReport(1_000_000, Number.POSITIVE_INFINITY), goal: { of: 'value', most: 1 } };
const verdict: BenchCase = { name: 'one verdict', unit: 'µs', ours: async () => microsecondsPerReport(20_000, 1), goal: { of: 'value', most: 50 } };

/** Healthy canaries on machines where each process has slow spells of its own, judged with and without regard to time. */
const spells: SimulatedTraffic = { ...traffic, requests: HOUR_OF_REQUESTS, disturbance: { spells: { perHour: 20, meanSeconds: 5, factor: 3 } } };
const SPELL_ROLLOUTS = 200;
const spellRollbacks = (timed: boolean): number =>
  percent(
    [0.1, 0.5].flatMap((share) => simulate(SPELL_ROLLOUTS / 2, { ...spells, share }, { timed, looksEvery: 10 })),
    ({ end }) => end === 'rolled_back',
  );

const disturbed: BenchCase = {
  name: `false rollbacks of ${SPELL_ROLLOUTS} healthy canaries whose processes each have 20 slow spells an hour (3 times, 5 s)`,
  unit: '%',
  ours: async () => spellRollbacks(true),
  peerName: 'requests alone',
  peer: async () => spellRollbacks(false),
  goal: { of: 'ratio', most: 0.5 },
};

function microsecondsPerReport(count: number, reportsAVerdict: number): number {
  const baseline = new BaselineSample();
  const observations = Array.from({ length: 1_000 }, (_, index): Observation & { atMs: number } => {
    const latency = 100 + ((index * 7919) % 1_000);
    return { canary: index % 10 === 0, failed: index % 100 === 0, values: [latency, latency / 4, latency / 50, latency / 60, 40, 1 / 41], atMs: 0 };
  });
  for (const { values } of observations) baseline.add(values);
  const evidence = new Evidence(0.1, baseline);
  const start = performance.now();
  for (let index = 0; index < count; index++) {
    const observation = observations[index % observations.length] as (typeof observations)[number];
    observation.atMs = index;
    evidence.observe(observation);
    if (index % reportsAVerdict === reportsAVerdict - 1) judge(evidence, SHIPPED_TRIGGERS);
  }
  return ((performance.now() - start) * 1_000) / count;
}

/** How the verdicts of SPEC 6 do over many simulated rollouts, beside thresholds on bare ratios. */
export const suite: BenchSuite = {
  name: 'canary',
  description: 'simulated rollouts, judged at every report',
  pairs: 1,
  cases: [
    cost,
    observing,
    verdict,
    ...rollbacksEverywhere,
    detection('1.5 times slower, sigma 0.5', 65, { canarySlowdown: 1.5 }),
    detection('1.5 times slower, sigma 1', 260, { canarySlowdown: 1.5, sigma: 1 }),
    detection('2 times slower, sigma 0.5', 25, { canarySlowdown: 2 }),
    detection('2 times slower, sigma 1', 90, { canarySlowdown: 2, sigma: 1 }),
    ...[100, 1_000].flatMap((rate) => [detectionTime('1.5 times slower, sigma 0.5', rate, { canarySlowdown: 1.5 }), detectionTime('5 times slower, sigma 0.5', rate, { canarySlowdown: 5 })]),
    detection('errors 0.2 to 2 %', 330, { canaryErrorRate: 0.02 }),
    detection('errors 1 to 5 %', 200, { errorRate: 0.01, canaryErrorRate: 0.05 }),
    detection('errors 1 to 2 %', 1_900, { errorRate: 0.01, canaryErrorRate: 0.02 }),
    promotion,
    falsePromotions,
    falseRollbacks,
    disturbed,
  ],
};
