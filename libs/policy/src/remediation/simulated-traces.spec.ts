import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { qosMonitor } from '../slo/slo-policy.ts';
import { SloController } from './slo-controller.ts';

const INTERVAL_MS = 5_000;
const FIVE_MINUTES = 300_000;

/** The policies that ship, and one that sheds: P's own settings. */
const settingsOf = (threshold: number) => qosMonitor.parse({
  enabled: true,
  evaluator: { enabled: true, evaluation_interval_ms: INTERVAL_MS, window_ms: 60_000, tdigest_compression: 100 },
  executor: { enabled: true, cooldown_ms: 60_000, max_executions_per_window: 5, execution_window_ms: FIVE_MINUTES, loop_detection_window: 6 },
  policy_store: {
    policies: [
      {
        id: 'ttft',
        name: 'T',
        enabled: true,
        priority: 100,
        slos: [{ name: 'ttft_p95', metric: 'ttft', threshold, window_ms: 60_000, severity: 'critical' }],
        remediations: [
          { type: 'scale_up', target: 'governor', params: { delta: 5 }, reason: 'slow' },
          { type: 'shed_load', target: 'stream_registry', params: { percentage: 20 }, reason: 'slow' },
        ],
      },
    ],
  },
});

/** Seeded, so that a failure can be seen again. */
function randomSource(seed: number): () => number {
  let state = seed;
  return () => ((state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0), (state + 1) / (2 ** 32 + 1));
}

type Trace = (minute: number, random: () => number, limit: number) => number;

/** Median time to the first token, by the minute: steps, waves, bursts, drifts, and ones that answer to what is done. */
const TRACES: [string, Trace][] = [
  ['calm', () => 200],
  ['just below the threshold', () => 235],
  ['just above the threshold', () => 245],
  ['on the threshold, noisy', (_, random) => 225 + 30 * random()],
  ['a step', (minute) => (minute < 10 ? 200 : 400)],
  ['a step that ends', (minute) => (minute < 10 || minute > 20 ? 200 : 400)],
  ['a spike of a minute', (minute) => (Math.floor(minute) === 10 ? 600 : 200)],
  ['a spike every five minutes', (minute) => (minute % 5 < 1 ? 600 : 200)],
  ['up and down every minute', (minute) => (minute % 2 < 1 ? 500 : 150)],
  ['up and down every two minutes', (minute) => (minute % 4 < 2 ? 500 : 150)],
  ['up and down every three minutes', (minute) => (minute % 6 < 3 ? 500 : 150)],
  ['a slow wave', (minute) => 230 + 150 * Math.sin(minute / 6)],
  ['a fast wave', (minute) => 230 + 150 * Math.sin(minute)],
  ['a drift', (minute) => 150 + 5 * minute],
  ['a drift and back', (minute) => 150 + 8 * Math.min(minute, 60 - minute)],
  ['noise', (_, random) => 100 + 400 * random()],
  ['bursts by chance', (_, random) => (random() < 0.02 ? 2_000 : 200)],
  ['better with a higher limit', (minute, _, limit) => (minute < 5 ? 200 : 400 * (64 / limit) ** 4)],
  ['worse with a higher limit', (minute, _, limit) => (minute < 5 ? 200 : 300 * (limit / 64) ** 4)],
  ['answering at once, both ways', (minute, _, limit) => (minute < 5 ? 200 : limit > 64 ? 150 : 500)],
];

/** Requests a second. */
const RATE = 4;

function run(trace: Trace, seed: number, { minutes = 60, sigma = 0.5 } = {}) {
  const random = randomSource(seed);
  return drive(550, minutes, (time, controller) => {
    const limit = valueOf(controller, 'limit', 64);
    return Array.from({ length: RATE * (INTERVAL_MS / 1_000) }, () => {
      const normal = Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
      const ttftMs = trace(time / 60_000, random, limit) * Math.exp(sigma * normal);
      return { ttftMs, durationMs: ttftMs * 3 };
    });
  });
}

/** Evaluates what comes in each interval, and notes what becomes of the actuators. */
function drive(threshold: number, minutes: number, arrivals: (time: number, controller: SloController) => readonly { ttftMs: number; durationMs: number }[]) {
  let time = 0;
  const controller = new SloController(settingsOf(threshold), () => time);
  const values = new Map<string, { at: number; value: number }[]>();
  while (time < minutes * 60_000) {
    for (const sample of arrivals(time, controller)) controller.add({ ...sample, outcome: 'ok', tokens: 20, worker: 'w:1', variant: 'baseline' });
    time += INTERVAL_MS;
    controller.evaluate({ runningRequests: 4, baseLimit: 64 });
    for (const [actuator, base] of [['limit', 64], ['shed', 0]] as const) note(values, actuator, base, valueOf(controller, actuator, base), time);
  }
  return { controller, values };
}

interface Recorded {
  readonly name: string;
  /** Of each request: milliseconds since the one before it, to its first token, and to its end. */
  readonly requests: readonly (readonly [gapMs: number, ttftMs: number, durationMs: number])[];
}

/** Four minutes each of a real worker with the tiny model, as `qos record` gave them. */
const RECORDED = JSON.parse(readFileSync(new URL('../../../testing/vectors/recorded-traffic.json', import.meta.url), 'utf8')) as Recorded[];

/** An hour of a recording, played again and again. */
function replay({ requests }: Recorded, threshold: number) {
  let [next, at] = [0, 0];
  return drive(threshold, 60, (time) => {
    const arrived: { ttftMs: number; durationMs: number }[] = [];
    for (; at < time + INTERVAL_MS; next++) {
      const [gapMs, ttftMs, durationMs] = requests[next % requests.length] as Recorded['requests'][number];
      at += gapMs;
      arrived.push({ ttftMs, durationMs });
    }
    return arrived;
  });
}

/** The value below which such a share of the first tokens came. */
function quantileOf({ requests }: Recorded, share: number): number {
  const sorted = requests.map(([, ttftMs]) => ttftMs).sort((left, right) => left - right);
  return sorted[Math.floor(share * (sorted.length - 1))] as number;
}

function valueOf(controller: SloController, actuator: string, base: number): number {
  return controller.leases.find((lease) => lease.actuator === actuator)?.value ?? base;
}

function note(values: Map<string, { at: number; value: number }[]>, actuator: string, base: number, value: number, at: number): void {
  const seen = values.get(actuator) ?? [{ at: 0, value: base }];
  if (seen.at(-1)?.value !== value) seen.push({ at, value });
  values.set(actuator, seen);
}

/** When an actuator turned round. */
function turns(steps: readonly { at: number; value: number }[]): number[] {
  const directions = steps.slice(1).map(({ at, value }, index) => ({ at, up: value > (steps[index]?.value ?? 0) }));
  return directions.filter(({ up }, index) => index > 0 && directions[index - 1]?.up !== up).map(({ at }) => at);
}

function expectFewTurns(steps: readonly { at: number; value: number }[]): void {
  const at = turns(steps);
  for (let index = 1; index < at.length; index++) expect((at[index] as number) - (at[index - 1] as number)).toBeGreaterThanOrEqual(FIVE_MINUTES);
}

describe('over twenty traces of an hour', () => {
  it.each(TRACES)('no actuator changes its direction more than once in five minutes: %s', (_, trace) => {
    for (const steps of run(trace, 1).values.values()) expectFewTurns(steps);
  });

  it.each(RECORDED.flatMap((recorded) => [0.5, 0.9, 0.99].map((share) => ({ ...recorded, share }))))('nor over an hour of a recording: $name, the threshold at its quantile $share', (recorded) => {
    const { values, controller } = replay(recorded, quantileOf(recorded, recorded.share));
    for (const steps of values.values()) expectFewTurns(steps);
    if (recorded.share === 0.5) expect(controller.state.records.some(({ outcome }) => outcome === 'executed')).toBe(true);
  });

  it('a step to twice the latency that breaks the SLO is acted on at the second evaluation after it', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { controller } = run((minute) => (minute < 2 ? 350 : 700), seed, { minutes: 3, sigma: 0.15 });
      const acted = controller.state.records.find(({ outcome }) => outcome === 'executed')?.atMs;
      expect(acted).toBe(120_000 + 2 * INTERVAL_MS);
    }
  });

  it('nothing is done while all is well', () => {
    for (let seed = 1; seed <= 3; seed++) expect(run(() => 150, seed, { minutes: 20 }).controller.state.records).toEqual([]);
  });
});
