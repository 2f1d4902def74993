import { setImmediate } from 'node:timers/promises';
import { type ActionRecord, type QosMonitorSettings, SloController, type SloVerdict, sloPercentile } from '@mlx-serving/policy';
import { FineDigest } from '@mlx-serving/tdigest';
import type { RecordedSample } from '../recording/recording.ts';

export interface ReplayOptions {
  readonly settings: QosMonitorSettings;
  /** A gateway's concurrency limit without a remediation. */
  readonly baseLimit: number;
}

export interface ReplayedSlo {
  readonly policy: string;
  readonly slo: string;
  readonly verdicts: Readonly<Record<string, number>>;
  /** Of a percentile: over all of the recording, to some hundredths of a percent. */
  readonly value?: number;
}

export interface Replay {
  readonly requests: number;
  readonly evaluations: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly actions: readonly ActionRecord[];
  readonly slos: readonly ReplayedSlo[];
}

/** Most evaluations of one replay, so that two samples a year apart do not hold the service up. */
const MOST_EVALUATIONS = 20_000;
/** Longest time in one go: the service's own loop and its lease go on in between. */
const SLICE_MS = 10;

type Counts = Map<string, Record<string, number>>;

/** What policies would have done with recorded traffic: the same loop as the service's, on the recording's own clock. */
export async function replayPolicies(samples: readonly RecordedSample[], { settings, baseLimit }: ReplayOptions): Promise<Replay> {
  const ordered = samples.toSorted((left, right) => left.atMs - right.atMs);
  const [fromMs, toMs] = [ordered[0]?.atMs ?? 0, ordered.at(-1)?.atMs ?? 0];
  const interval = settings.evaluator.evaluation_interval_ms;
  let time = fromMs;
  const controller = new SloController(settings, () => time);
  const pools = poolsOf(ordered);
  const split = isSplit(ordered);
  const counts: Counts = new Map();
  let [evaluations, next, pausedAt] = [0, 0, performance.now()];
  for (let end = fromMs + interval; evaluations < MOST_EVALUATIONS && end < toMs + interval; end += interval) {
    for (; next < ordered.length && (ordered[next] as RecordedSample).atMs < end; next++) {
      const sample = ordered[next] as RecordedSample;
      time = sample.atMs;
      controller.add(sample);
    }
    time = end;
    count(counts, controller.evaluate({ runningRequests: undefined, baseLimit, pools, judging: split }).verdicts);
    evaluations++;
    if (performance.now() - pausedAt < SLICE_MS) continue;
    await setImmediate();
    pausedAt = performance.now();
  }
  return { requests: ordered.length, evaluations, fromMs, toMs, actions: controller.state.records, slos: summary(settings, counts, ordered) };
}

function count(counts: Counts, verdicts: readonly SloVerdict[]): void {
  for (const { policy, slo, verdict } of verdicts) {
    const key = `${policy} ${slo}`;
    const own = counts.get(key) ?? {};
    counts.set(key, { ...own, [verdict]: (own[verdict] ?? 0) + 1 });
  }
}

function poolsOf(samples: readonly RecordedSample[]): string[][] {
  const of = (canary: boolean): string[] => [...new Set(samples.filter(({ variant }) => (variant === 'canary') === canary).map(({ worker }) => worker))].filter(Boolean);
  return [of(false), of(true)];
}

function isSplit(samples: readonly RecordedSample[]): boolean {
  return samples.some(({ variant }) => variant === 'canary') && samples.some(({ variant }) => variant === 'baseline');
}

function summary({ policy_store: { policies } }: QosMonitorSettings, counts: Counts, samples: readonly RecordedSample[]): ReplayedSlo[] {
  return policies.flatMap((policy) =>
    policy.slos.map((slo) => {
      const percentile = sloPercentile(slo);
      const value = percentile === undefined ? undefined : digestOf(slo.metric, samples).percentile(percentile);
      return { policy: policy.id, slo: slo.name, verdicts: counts.get(`${policy.id} ${slo.name}`) ?? {}, ...(value === undefined ? {} : { value }) };
    }),
  );
}

function digestOf(metric: string, samples: readonly RecordedSample[]): FineDigest {
  const digest = new FineDigest();
  for (const { outcome, ttftMs, durationMs } of samples) {
    const value = metric === 'ttft' ? ttftMs : metric === 'latency' && outcome === 'ok' ? durationMs : undefined;
    if (value !== undefined) digest.push(value);
  }
  return digest;
}
