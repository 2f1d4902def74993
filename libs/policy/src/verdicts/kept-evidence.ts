import type { Excess } from './blast-radius.ts';
import { type EventCounts, RATIOS } from './e-process.ts';
import { PLAIN_EVENTS, TAIL_METRICS, TAIL_QUANTILES } from './metrics-judged.ts';
import type { KeptScales } from './steadiness.ts';

/** Kinds of events: first PLAIN_EVENTS, then each quantile of each of TAIL_METRICS, of the latency at the margin, and of the tails at their floors. */
export const KINDS = PLAIN_EVENTS.length + (TAIL_METRICS.length + 1 + TAIL_METRICS.length) * TAIL_QUANTILES.length;
/** "Not worse" means: less than so many times slower, and fewer than so many times the baseline's errors. */
export const DEFAULT_MARGIN = 1.5;

export interface EvidenceOptions {
  /** How many times slower a canary must not be to be promoted. Default: 1.5. */
  readonly margin?: number;
  /** For each of TAIL_METRICS, in their order: see DEFAULT_FLOOR. */
  readonly floors?: readonly number[];
  /** How long a block of time is: see `Steadiness`. */
  readonly blockMs?: number | undefined;
}

/** Evidence as it is kept: counts of the present stage, and the logarithms that earlier stages left. */
export interface KeptEvidence {
  readonly share: number;
  readonly margin: number;
  readonly events: readonly (readonly [canary: number, baseline: number])[];
  readonly carried: readonly (readonly number[])[];
  readonly steadiness: KeptScales | undefined;
  readonly floors: readonly number[];
  readonly thresholds: readonly (readonly number[] | null)[];
  readonly requests: EventCounts;
  readonly units: EventCounts;
  readonly finished: EventCounts;
  readonly failed: EventCounts;
  readonly bad: EventCounts;
  /** What earlier stages have used of the blast radius; absent of the first. */
  readonly before?: { readonly failed: Excess; readonly bad: Excess } | undefined;
  /** Of the canary's first ten requests: how many came, and how many failed. */
  readonly first: { readonly count: number; readonly failed: number };
  readonly filter: string;
}

export const none = (): EventCounts => ({ canary: 0, baseline: 0 });

export function isPresent(kept: KeptEvidence | undefined): kept is KeptEvidence {
  return kept?.events.length === KINDS && 'finished' in kept;
}

export function nothingSeen(share: number, { margin = DEFAULT_MARGIN, floors = [] }: EvidenceOptions): KeptEvidence {
  return {
    share,
    margin,
    floors,
    events: Array.from({ length: KINDS }, () => [0, 0] as const),
    carried: Array.from({ length: KINDS }, () => RATIOS.map(() => 0)),
    steadiness: undefined,
    thresholds: [],
    requests: none(),
    units: none(),
    finished: none(),
    failed: none(),
    bad: none(),
    first: { count: 0, failed: 0 },
    filter: '',
  };
}
