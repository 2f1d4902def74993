import type { Excess } from './blast-radius.ts';
import { type EventCounts, RATIOS } from './e-process.ts';
import type { KeptScales } from './steadiness.ts';

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

/** No event yet. */
export const none = (): EventCounts => ({ canary: 0, baseline: 0 });

/** Whether it is as this version keeps it, with so many kinds of events. */
export function isPresent(kept: KeptEvidence | undefined, kinds: number): kept is KeptEvidence {
  return kept?.events.length === kinds && 'finished' in kept;
}

/** The evidence of a stage that begins. */
export function nothingSeen(share: number, kinds: number, { margin, floors = [] }: EvidenceOptions & { readonly margin: number }): KeptEvidence {
  return {
    share,
    margin,
    floors,
    events: Array.from({ length: kinds }, () => [0, 0] as const),
    carried: Array.from({ length: kinds }, () => RATIOS.map(() => 0)),
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
