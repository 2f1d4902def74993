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

/** What policies would have done with recorded traffic: the same loop as the service's, on the recording's own clock. */
export function replayPolicies(samples: readonly RecordedSample[], { settings, baseLimit }: ReplayOptions): Replay {
  const ordered = samples.toSorted((left, right) => left.atMs - right.atMs);
  const [fromMs, toMs] = [ordered[0]?.atMs ?? 0, ordered.at(-1)?.atMs ?? 0];
  const interval = settings.evaluator.evaluation_interval_ms;
  let time = fromMs;
  const controller = new SloController(settings, () => time);
  const workers = [...new Set(ordered.map(({ worker }) => worker))].filter(Boolean);
  const split = isSplit(ordered);
  const verdicts: SloVerdict[] = [];
  let [evaluations, next] = [0, 0];
  for (let end = fromMs + interval; evaluations < MOST_EVALUATIONS && end < toMs + interval; end += interval) {
    for (; next < ordered.length && (ordered[next] as RecordedSample).atMs < end; next++) {
      const sample = ordered[next] as RecordedSample;
      time = sample.atMs;
      controller.add(sample);
    }
    time = end;
    verdicts.push(...controller.evaluate({ runningRequests: undefined, baseLimit, workers, judging: split }).verdicts);
    evaluations++;
  }
  return { requests: ordered.length, evaluations, fromMs, toMs, actions: controller.state.records, slos: summary(settings, verdicts, ordered) };
}

function isSplit(samples: readonly RecordedSample[]): boolean {
  return samples.some(({ variant }) => variant === 'canary') && samples.some(({ variant }) => variant === 'baseline');
}

function summary({ policy_store: { policies } }: QosMonitorSettings, verdicts: readonly SloVerdict[], samples: readonly RecordedSample[]): ReplayedSlo[] {
  return policies.flatMap((policy) =>
    policy.slos.map((slo) => {
      const counts: Record<string, number> = {};
      for (const each of verdicts) if (each.policy === policy.id && each.slo === slo.name) counts[each.verdict] = (counts[each.verdict] ?? 0) + 1;
      const percentile = sloPercentile(slo);
      const value = percentile === undefined ? undefined : digestOf(slo.metric, samples).percentile(percentile);
      return { policy: policy.id, slo: slo.name, verdicts: counts, ...(value === undefined ? {} : { value }) };
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
