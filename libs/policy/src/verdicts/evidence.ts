import type { BaselineSample } from './baseline-sample.ts';
import { type EventCounts, logEValues, RATIOS } from './e-process.ts';
import { type Observation, PLAIN_EVENTS, TAIL_METRICS, TAIL_QUANTILES } from './metrics-judged.ts';
import { UnitFilter } from './unit-filter.ts';

/** The latency once more, the canary's divided by the margin: what promotion looks at. */
const AT_MARGIN = TAIL_METRICS.length;
/** Kinds of events: first PLAIN_EVENTS, then each quantile of each of TAIL_METRICS, then the latency at the margin. */
const KINDS = PLAIN_EVENTS.length + (TAIL_METRICS.length + 1) * TAIL_QUANTILES.length;
/** For units that were seen at all: the sample ratio. */
const SEEN = KINDS;
/** For units that had a bad request: the blast radius. */
const BAD = KINDS + 1;
/** "Not worse" means: less than so many times slower, and fewer than so many times the baseline's errors. */
export const DEFAULT_MARGIN = 1.5;
/** A canary's first requests that decide by themselves when all of them failed (SPEC C2). */
export const FIRST_REQUESTS = 10;

/** Evidence as it is kept: counts of the present stage, and the logarithms that earlier stages left. */
export interface KeptEvidence {
  readonly share: number;
  readonly margin: number;
  readonly events: readonly (readonly [canary: number, baseline: number])[];
  readonly carried: readonly (readonly number[])[];
  readonly thresholds: readonly (readonly number[] | null)[];
  readonly requests: EventCounts;
  readonly units: EventCounts;
  readonly bad: EventCounts;
  /** Of the canary's first ten requests: how many came, and how many failed. */
  readonly first: { readonly count: number; readonly failed: number };
  readonly filter: string;
}

const none = (): EventCounts => ({ canary: 0, baseline: 0 });

/**
 * What a stage has seen: for each kind of event how many fell to each variant. Observing costs constant time and memory;
 * verdicts are read from it by `judge`. A unit with many requests counts with its first event of a kind (SPEC 6).
 */
export class Evidence {
  readonly share: number;
  readonly #margin: number;
  readonly requests: EventCounts;
  readonly units: EventCounts;
  readonly bad: EventCounts;
  readonly first: { count: number; failed: number };
  readonly #events: EventCounts[];
  #carried: readonly (readonly number[])[];
  #thresholds: (readonly number[] | null)[];
  readonly #baseline: BaselineSample;
  #filter: UnitFilter;
  #filterUsed: boolean;

  /**
   * @param share the canary's share of the units, 0 to 1
   * @param baseline values of the baseline up to now, from which the quantiles are fixed; it takes in what comes
   * @param kept what `keep` gave, to go on from there
   * @param margin how many times slower a canary must not be to be promoted
   */
  constructor(share: number, baseline: BaselineSample, kept?: KeptEvidence, margin = DEFAULT_MARGIN) {
    this.share = kept?.share ?? share;
    this.#margin = kept?.margin ?? margin;
    this.#baseline = baseline;
    this.requests = kept ? { ...kept.requests } : none();
    this.units = kept ? { ...kept.units } : none();
    this.bad = kept ? { ...kept.bad } : none();
    this.first = kept ? { ...kept.first } : { count: 0, failed: 0 };
    this.#events = Array.from({ length: KINDS }, (_, kind) => ({ canary: kept?.events[kind]?.[0] ?? 0, baseline: kept?.events[kind]?.[1] ?? 0 }));
    this.#carried = Array.from({ length: KINDS }, (_, kind) => kept?.carried[kind] ?? RATIOS.map(() => 0));
    this.#thresholds = TAIL_METRICS.map((_, metric) => kept?.thresholds[metric] ?? baseline.thresholds(metric) ?? null);
    this.#filter = new UnitFilter(kept?.filter);
    this.#filterUsed = Boolean(kept?.filter);
  }

  /** Takes in one finished request. */
  observe(observation: Observation): void {
    const { canary, failed, unit } = observation;
    const side = canary ? 'canary' : 'baseline';
    this.requests[side]++;
    if (this.#isFirst(unit, SEEN)) {
      this.units[side]++;
      if (canary) this.#countFirst(failed);
    }
    if (failed) {
      this.#count(0, side, unit);
      if (this.#isFirst(unit, BAD)) this.bad[side]++;
    } else this.#observeAnswer(observation, side);
  }

  /** Counts of latencies beyond a quantile (its index), the canary's divided by the margin. */
  countsAtMargin(quantile: number): EventCounts {
    return this.counts(AT_MARGIN, quantile);
  }

  /** Counts of a plain event or, with a quantile (its index), of a tail. */
  counts(index: number, quantile?: number): EventCounts {
    return this.#events[kindOf(index, quantile)] ?? none();
  }

  /** The logarithms of the e-values over all stages, one for each ratio. */
  logEValues(index: number, quantile?: number): number[] {
    const kind = kindOf(index, quantile);
    const carried = this.#carried[kind] ?? [];
    return logEValues(this.#events[kind] ?? none(), this.share).map((log, ratio) => log + (carried[ratio] ?? 0));
  }

  /** Starts the next stage: what was found is carried on by multiplying, counts and quantiles begin anew. */
  next(share: number): Evidence {
    const next = new Evidence(share, this.#baseline, undefined, this.#margin);
    next.#carried = Array.from({ length: KINDS }, (_, kind) => {
      const before = this.#carried[kind] ?? [];
      // A stage at 100 % has nothing to compare with, so it finds nothing.
      return this.#isComparing ? logEValues(this.#events[kind] ?? none(), this.share).map((log, ratio) => log + (before[ratio] ?? 0)) : before;
    });
    // Units keep their variant over stages, so each counts once in the whole rollout.
    next.#filter = this.#filter;
    next.#filterUsed = this.#filterUsed;
    return next;
  }

  keep(): KeptEvidence {
    return {
      share: this.share,
      margin: this.#margin,
      events: this.#events.map(({ canary, baseline }) => [canary, baseline] as const),
      carried: this.#carried,
      thresholds: this.#thresholds,
      requests: { ...this.requests },
      units: { ...this.units },
      bad: { ...this.bad },
      first: { ...this.first },
      filter: this.#filterUsed ? this.#filter.toString() : '',
    };
  }

  get #isComparing(): boolean {
    return this.share > 0 && this.share < 1;
  }

  #observeAnswer({ canary, unit, values, empty, cut }: Observation, side: keyof EventCounts): void {
    if (empty) this.#count(1, side, unit);
    if (cut) this.#count(2, side, unit);
    if (this.#countTails(values, side, unit) && this.#isFirst(unit, BAD)) this.bad[side]++;
    if (!canary) this.#baseline.add(values);
  }

  #countFirst(failed: boolean): void {
    if (this.first.count >= FIRST_REQUESTS) return;
    this.first.count++;
    if (failed) this.first.failed++;
  }

  /** @returns true when the latency was above the baseline's P99 */
  #countTails(values: readonly number[], side: keyof EventCounts, unit: string | undefined): boolean {
    for (let metric = 0; metric < TAIL_METRICS.length; metric++) {
      const value = values[metric] ?? Number.NaN;
      const thresholds = (this.#thresholds[metric] ??= this.#baseline.thresholds(metric) ?? null);
      if (!thresholds) continue;
      this.#countBeyond(metric, value, thresholds, side, unit);
      if (metric === 0) this.#countBeyond(AT_MARGIN, side === 'canary' ? value / this.#margin : value, thresholds, side, unit);
    }
    return (values[0] ?? Number.NaN) > (this.#thresholds[0]?.[TAIL_QUANTILES.length - 1] ?? Number.NaN);
  }

  #countBeyond(metric: number, value: number, thresholds: readonly number[], side: keyof EventCounts, unit: string | undefined): void {
    for (let quantile = 0; quantile < TAIL_QUANTILES.length && value > (thresholds[quantile] ?? Number.NaN); quantile++) {
      this.#count(kindOf(metric, quantile), side, unit);
    }
  }

  #count(kind: number, side: keyof EventCounts, unit: string | undefined): void {
    const counts = this.#events[kind];
    if (counts && this.#isFirst(unit, kind)) counts[side]++;
  }

  #isFirst(unit: string | undefined, kind: number): boolean {
    if (unit === undefined) return true;
    this.#filterUsed = true;
    return this.#filter.add(unit, kind);
  }
}

function kindOf(index: number, quantile: number | undefined): number {
  return quantile === undefined ? index : PLAIN_EVENTS.length + index * TAIL_QUANTILES.length + quantile;
}
