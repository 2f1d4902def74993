import { qosMonitor, SloController } from '@mlx-serving/policy';
import { Digest, FineDigest, RollingDigest } from '@mlx-serving/tdigest';
import { type Overload, OverloadTrial, randomSource } from '../qos/overload.ts';
import { quantile } from '../statistics.ts';
import type { BenchCase, BenchSuite } from '../suite.ts';
import { SharedTrials } from '../worker/trials.ts';

const SAMPLES = 1_000_000;
const BATCH = 1_000;
const PEER = 'npm tdigest';

const random = randomSource(1);
const normal = (): number => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
const samplesOf = (next: (index: number) => number): Float64Array => Float64Array.from({ length: SAMPLES }, (_, index) => Math.max(0, next(index)));

const inputs = {
  lognormal: samplesOf(() => 280 * Math.exp(0.5 * normal())),
  bimodal: samplesOf(() => (random() < 0.9 ? 300 + 30 * normal() : 2_000 + 200 * normal())),
  sorted: samplesOf((index) => 1 + index / 1_000),
};

interface Sketch {
  push(value: number): unknown;
}

/** Nanoseconds of a push, the median over batches. */
function medianPush(sketch: Sketch, samples: Float64Array): number {
  const times: number[] = [];
  for (let at = 0; at + BATCH <= samples.length; at += BATCH) {
    const start = performance.now();
    for (let each = at; each < at + BATCH; each++) sketch.push(samples[each] as number);
    times.push(((performance.now() - start) * 1e6) / BATCH);
  }
  return quantile(times, 0.5);
}

/** What each of the same steps takes at least, over five runs of them: a stall of the code's own comes back, one of the machine's does not. */
function ownTimes(run: () => number[]): number[] {
  const runs = Array.from({ length: 5 }, run);
  return (runs[0] as number[]).map((_, at) => Math.min(...runs.map((times) => times[at] as number)));
}

/** Milliseconds of the slowest push. */
function worstPush(create: () => Sketch, samples: Float64Array): number {
  const times = ownTimes(() => {
    const sketch = create();
    return Array.from(samples.subarray(0, 50_000), (value) => {
      const start = performance.now();
      sketch.push(value);
      return performance.now() - start;
    });
  });
  return times.reduce((slowest, each) => Math.max(slowest, each), 0);
}

/** How far a percentile is off, in percent of the right one; the worst over all inputs. */
function worstError(p: number): number {
  return Math.max(
    ...Object.values(inputs).map((samples) => {
      const digest = new Digest();
      for (const value of samples) digest.push(value);
      const right = samples.toSorted()[Math.ceil((p / 100) * samples.length) - 1] as number;
      return 100 * Math.abs((digest.percentile(p) as number) / right - 1);
    }),
  );
}

/** Microseconds of a read of P95 over a window of a minute at 1,000 samples a second; the 99th percentile, moves of the window included. */
function windowedRead(): number {
  return quantile(ownTimes(readTimes), 0.99);
}

function readTimes(): number[] {
  let time = 0;
  const digest = new RollingDigest({ windowMs: 60_000, now: () => time });
  const times: number[] = [];
  inputs.lognormal.subarray(0, 120_000).forEach((value, index) => {
    time = index;
    digest.push(value);
    if (index < 60_000 || index % 250 !== 0) return;
    const start = performance.now();
    digest.percentile(95);
    times.push((performance.now() - start) * 1_000);
  });
  return times;
}

const policies = Array.from({ length: 100 }, (_, index) => ({
  id: `policy-${index}`,
  name: 'P',
  enabled: true,
  priority: index,
  slos: [{ name: 'slo_p95', metric: index % 2 === 0 ? 'ttft' : 'latency', threshold: 300 + 10 * index, window_ms: [30_000, 60_000, 300_000][index % 3] as number, severity: 'warning', ...(index % 10 === 0 ? { objective: 0.99 } : {}) }],
  remediations: [{ type: 'shed_load', target: 'stream_registry', params: { percentage: 10 }, reason: 'slow' }],
}));

function settingsOf(policyList: readonly object[]): ReturnType<typeof qosMonitor.parse> {
  return qosMonitor.parse({
    enabled: true,
    evaluator: { enabled: true, evaluation_interval_ms: 5_000, window_ms: 60_000, tdigest_compression: 100 },
    executor: { enabled: true, cooldown_ms: 60_000, max_executions_per_window: 5, execution_window_ms: 300_000, loop_detection_window: 6 },
    policy_store: { policies: policyList },
  });
}

/** Percent of one core that 100 policies over 1,000 requests a second take: CPU time of two minutes of them, over two minutes. */
function policyCost(): number {
  let time = 0;
  const controller = new SloController(settingsOf(policies), () => time);
  const start = process.cpuUsage();
  for (; time < 120_000; time++) {
    const ttftMs = inputs.lognormal[time] as number;
    controller.add({ outcome: 'ok', ttftMs, durationMs: ttftMs * 3, tokens: 100, worker: 'w:1', variant: 'baseline' });
    if (time % 5_000 === 4_999) controller.evaluate({ runningRequests: 8, baseLimit: 64 });
  }
  const { user, system } = process.cpuUsage(start);
  return ((user + system) / 1_000 / 120_000) * 100;
}

/** Evaluations from a step from 400 to 800 ms, of an SLO of 550 ms at four requests a second, until something is done; the most of a hundred runs. */
function evaluationsUntilActed(): number {
  return Math.max(...Array.from({ length: 100 }, () => evaluationsOfOneStep()));
}

function evaluationsOfOneStep(): number {
  let time = 0;
  const controller = new SloController(settingsOf([{ ...policies[0], slos: [{ name: 'ttft_p95', metric: 'ttft', threshold: 550, window_ms: 60_000, severity: 'critical' }] }]), () => time);
  for (let evaluations = 1 - 24; evaluations < 100; evaluations++) {
    const usual = evaluations < 1 ? 400 : 800;
    for (let each = 0; each < 20; each++) {
      const ttftMs = usual * Math.exp(0.15 * normal());
      controller.add({ outcome: 'ok', ttftMs, durationMs: ttftMs * 3, tokens: 20, worker: 'w:1', variant: 'baseline' });
    }
    time += 5_000;
    controller.evaluate({ runningRequests: 4, baseLimit: 64 });
    if (controller.leases.length > 0) return evaluations;
  }
  return Number.POSITIVE_INFINITY;
}

const overload = new OverloadTrial();
const governed = new SharedTrials(() => overload.governed());
const ungoverned = new SharedTrials(() => overload.ungoverned());

function underOverload(name: string, unit: string, of: (run: Overload) => number, most: number): BenchCase {
  return {
    name: `three times the best load, real worker: ${name}`,
    unit,
    ours: async () => of(await governed.next(name)),
    peerName: 'without the governor',
    peer: async () => of(await ungoverned.next(name)),
    goal: { of: 'value', most },
  };
}

const cases: BenchCase[] = [
  ...Object.entries(inputs).map(
    ([name, samples]): BenchCase => ({
      name: `a push, ${name}`,
      unit: 'ns',
      ours: async () => medianPush(new Digest(), samples),
      peerName: PEER,
      peer: async () => medianPush(new FineDigest(), samples.subarray(0, 50_000)),
      goal: { of: 'value', most: 100 },
    }),
  ),
  { name: 'the slowest push', unit: 'ms', ours: async () => worstPush(() => new Digest(), inputs.lognormal), peerName: PEER, peer: async () => worstPush(() => new FineDigest(), inputs.lognormal), goal: { of: 'value', most: 1 } },
  { name: 'error of P95, the worst input', unit: '%', ours: async () => worstError(95), goal: { of: 'value', most: 0.5 } },
  { name: 'error of P99, the worst input', unit: '%', ours: async () => worstError(99), goal: { of: 'value', most: 1 } },
  { name: 'a windowed read, 99th percentile', unit: 'µs', ours: async () => windowedRead(), goal: { of: 'value', most: 200 } },
  { name: '100 policies over 1,000 requests a second', unit: '% of a core', ours: async () => policyCost(), goal: { of: 'value', most: 2 } },
  { name: 'a step to twice the latency: evaluations until it is acted on', unit: 'evaluations', ours: async () => evaluationsUntilActed(), goal: { of: 'value', most: 2 } },
  underOverload('goodput of the best point over its own', 'times', ({ goodput }) => 1 / goodput, 1 / 0.8),
  underOverload('first token of urgent requests, p95, over the unloaded one', 'times', ({ urgentFirst }) => urgentFirst, 1.2),
  underOverload('a refusal, p95', 'ms', ({ refusedMs }) => refusedMs, 5),
];

/** What the digests and the controller cost, and what the governor brings. */
export const suite: BenchSuite = { name: 'qos', description: 'digests beside npm tdigest, the cost of policies, and the governor under three times the load that the real worker serves best', pairs: 3, cases, tearDown: () => overload.stop() };
