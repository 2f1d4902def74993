import { sloPercentile } from './slo-percentile.ts';
import type { EvaluatorSettings, Slo } from './slo-policy.ts';
import type { Percentiles, WindowView } from './metric-window.ts';

export type Verdict = 'ok' | 'violated' | 'insufficient_data' | 'stale';

/** What was measured for one SLO. */
export interface Measurement {
  /** Undefined without data. */
  readonly value: number | undefined;
  /** The good end of what the value may really be, at 95 %: what lies beyond the threshold at least. */
  readonly bound: number | undefined;
  readonly samples: number;
}

/** Where one look found the value: beyond the threshold, inside of the exit threshold, or between them. */
export type Look = 'beyond' | 'inside' | 'between';

/** What is remembered of an SLO from one evaluation to the next. */
export interface SloMemory {
  readonly looks: readonly Look[];
  readonly violated: boolean;
}

export const FRESH: SloMemory = { looks: [], violated: false };

/** One-sided 95 %. */
const Z = 1.645;

/** Reads an SLO's metric off a window (SPEC Q1). */
export function measureSlo(slo: Slo, window: WindowView, runningRequests: number | undefined): Measurement {
  switch (slo.metric) {
    case 'ttft':
      return ofPercentile(sloPercentile(slo), window.ttft);
    case 'latency':
      return ofPercentile(sloPercentile(slo), window.latency);
    case 'error_rate':
      return { value: window.errorRate, bound: leastShare(window.errors, window.requests), samples: window.requests };
    case 'throughput':
      // A sum over the window, not an estimate from a sample.
      return { value: window.tokensPerSecond, bound: window.tokensPerSecond, samples: window.requests };
    case 'stream_count':
      return { value: runningRequests, bound: runningRequests, samples: window.requests };
  }
}

/** The percentile, and the one that it is at least: the order statistic `Z` deviations of the rank below. */
function ofPercentile(p: number | undefined, samples: Percentiles): Measurement {
  const { count } = samples;
  if (p === undefined || count === 0) return { value: undefined, bound: undefined, samples: count };
  const share = p / 100;
  const least = Math.max(0, share - Z * Math.sqrt((share * (1 - share)) / count)) * 100;
  return { value: samples.percentile(p), bound: samples.percentile(least), samples: count };
}

/** Wilson's lower bound of a share. */
function leastShare(hits: number, of: number): number | undefined {
  if (of === 0) return undefined;
  const share = hits / of;
  const middle = share + (Z * Z) / (2 * of);
  const spread = Z * Math.sqrt((share * (1 - share)) / of + (Z * Z) / (4 * of * of));
  return Math.max(0, (middle - spread) / (1 + (Z * Z) / of));
}

/** Whether there is enough to judge. A count that is read off needs one answer of a worker, and no sample. */
export function isEnough(slo: Slo, { value, samples }: Measurement, settings: EvaluatorSettings): boolean {
  if (value === undefined) return false;
  return slo.metric === 'stream_count' || samples >= (slo.min_samples ?? settings.min_samples);
}

/** `throughput` is a minimum, everything else a maximum; the threshold itself is still good. */
export function lookAt(slo: Slo, { value, bound }: Measurement, settings: EvaluatorSettings): Look {
  if (value === undefined || bound === undefined) return 'between';
  if (slo.metric === 'throughput') {
    const exit = slo.exit_threshold ?? slo.threshold * (1 + settings.hysteresis);
    return bound < slo.threshold ? 'beyond' : value >= exit ? 'inside' : 'between';
  }
  const exit = slo.exit_threshold ?? slo.threshold * (1 - settings.hysteresis);
  return bound > slo.threshold ? 'beyond' : value <= exit ? 'inside' : 'between';
}

/** Takes one more look in: enough of the last ones must agree before the state changes (SPEC Q4). */
export function remember(memory: SloMemory, look: Look, { evaluations_agreeing: agreeing, evaluations_looked_at: lookedAt }: EvaluatorSettings): SloMemory {
  const looks = [...memory.looks, look].slice(-lookedAt);
  const count = (of: Look): number => looks.filter((each) => each === of).length;
  // What made it change its mind does not count again.
  if (!memory.violated && count('beyond') >= agreeing) return { looks: [], violated: true };
  if (memory.violated && count('inside') >= agreeing) return { looks: [], violated: false };
  return { looks, violated: memory.violated };
}
