import type { SloPolicy } from '@mlx-serving/policy';
import type { Percentiles, WindowView } from '../reports/report-window.ts';
import { type Slo, sloPercentile } from './slo-percentile.ts';

/** Fewest samples that a verdict may rest on. */
export const LEAST_SAMPLES = 20;

export type Verdict = 'ok' | 'violated' | 'insufficient_data';

export interface SloVerdict {
  readonly policy: string;
  readonly slo: string;
  readonly severity: Slo['severity'];
  readonly verdict: Verdict;
  readonly threshold: number;
  /** What was measured; absent without data. */
  readonly value?: number;
  readonly samples: number;
}

export interface Evidence {
  /** The window of an SLO, by its length in milliseconds. */
  readonly window: (windowMs: number) => WindowView;
  /** Requests that run at all workers that answer; absent when none does. */
  readonly runningRequests: number | undefined;
}

/** Judges every SLO of every enabled policy, highest priority first (SPEC Q1). */
export function evaluatePolicies(policies: readonly SloPolicy[], evidence: Evidence): SloVerdict[] {
  return policies
    .filter((policy) => policy.enabled)
    .toSorted((left, right) => right.priority - left.priority)
    .flatMap((policy) => policy.slos.map((slo) => judge(policy.id, slo, measure(slo, evidence))));
}

interface Measurement {
  readonly value: number | undefined;
  readonly samples: number;
  readonly enough: boolean;
}

function measure(slo: Slo, evidence: Evidence): Measurement {
  const window = evidence.window(slo.window_ms);
  switch (slo.metric) {
    case 'ttft':
      return ofPercentile(slo, window.ttft);
    case 'latency':
      return ofPercentile(slo, window.latency);
    case 'error_rate':
      return sampled(window.errorRate, window.requests);
    case 'throughput':
      return sampled(window.tokensPerSecond, window.requests);
    case 'stream_count':
      // A count that is read off, not estimated: one answer of a worker is evidence enough.
      return { value: evidence.runningRequests, samples: window.requests, enough: evidence.runningRequests !== undefined };
  }
}

function ofPercentile(slo: Slo, samples: Percentiles): Measurement {
  const percentile = sloPercentile(slo);
  return sampled(percentile === undefined ? undefined : samples.percentile(percentile), samples.count);
}

function sampled(value: number | undefined, samples: number): Measurement {
  return { value, samples, enough: samples >= LEAST_SAMPLES };
}

/** `throughput` is a minimum, everything else a maximum; the threshold itself is still good. */
function judge(policy: string, slo: Slo, { value, samples, enough }: Measurement): SloVerdict {
  const { name, severity, threshold } = slo;
  const verdict = { policy, slo: name, severity, threshold, samples };
  if (value === undefined || !enough) return { ...verdict, verdict: 'insufficient_data', ...(value === undefined ? {} : { value }) };
  const violated = slo.metric === 'throughput' ? value < threshold : value > threshold;
  return { ...verdict, verdict: violated ? 'violated' : 'ok', value };
}
