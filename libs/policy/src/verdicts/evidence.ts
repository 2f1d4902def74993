import type { BaselineSample } from './baseline-sample.ts';
import { addExcess, type Excess, excessOf, NO_EXCESS } from './blast-radius.ts';
import { type EventCounts, logEValues } from './e-process.ts';
import { type Observation, PLAIN_EVENTS, TAIL_METRICS, TAIL_QUANTILES } from './metrics-judged.ts';
import { type EvidenceOptions, isPresent, type KeptEvidence, none, nothingSeen } from './kept-evidence.ts';
import { Steadiness } from './steadiness.ts';
import { UnitFilter } from './unit-filter.ts';

/** The latency once more, the canary's divided by the margin: what promotion looks at. */
const AT_MARGIN = TAIL_METRICS.length;
/** Every tail once more, the canary's divided by its floor: whether the effect is large enough to act on. */
const AT_FLOOR = AT_MARGIN + 1;
/** Kinds of events: first PLAIN_EVENTS, then each quantile of each of TAIL_METRICS, of the latency at the margin, and of the tails at their floors. */
const KINDS = PLAIN_EVENTS.length + (TAIL_METRICS.length + 1 + TAIL_METRICS.length) * TAIL_QUANTILES.length;
/** For units that were seen at all: the sample ratio. */
const SEEN = KINDS;
/** For units that had a bad request: the blast radius. */
const BAD = KINDS + 1;
const FAILED = KINDS + 2;
/** For units of which one request at least came to an end. */
const FINISHED = KINDS + 3;
/** "Not worse" means: less than so many times slower, and fewer than so many times the baseline's errors. */
export const DEFAULT_MARGIN = 1.5;
/** A tail that is worse by less than this is no reason to roll back. P's threshold of 1.5 is beyond it as 1 is below, by their ratios. */
export const DEFAULT_FLOOR = Math.sqrt(1.5);
/** A canary's first requests that decide by themselves when all of them failed (SPEC C2). */
export const FIRST_REQUESTS = 10;
/** What is asked for its steadiness: of each tail the median and what is beyond it, and slow requests for the blast radius. */
const STEADY_SERIES = TAIL_METRICS.length * 2 + 1;
const SLOW = STEADY_SERIES - 1;

/**
 * What a stage has seen: for each kind of event how many fell to each variant. Observing costs constant time and memory;
 * verdicts are read from it by `judge`. A unit with many requests counts with its first event of a kind (SPEC 6).
 */
export class Evidence {
  readonly share: number;
  readonly #margin: number;
  readonly #floors: readonly number[];
  readonly #blockMs: number | undefined;
  readonly requests: EventCounts;
  readonly units: EventCounts;
  /** Units with a request that ended well or failed. */
  readonly finished: EventCounts;
  /** Units with a failed request. */
  readonly failed: EventCounts;
  /** Units with a request that failed or was slow beyond P99 by more than the floor. */
  readonly bad: EventCounts;
  readonly first: { count: number; failed: number };
  readonly #before: KeptEvidence['before'];
  readonly #events: EventCounts[];
  readonly #steadiness: Steadiness;
  #carried: readonly (readonly number[])[];
  #thresholds: (readonly number[] | null)[];
  readonly #baseline: BaselineSample;
  #filter: UnitFilter;
  #filterUsed: boolean;

  /**
   * @param share the canary's share of the units, 0 to 1
   * @param baseline values of the baseline up to now, from which the quantiles are fixed; it takes in what comes
   * @param kept what `keep` gave, to go on from there; one that an older version kept is left out
   */
  constructor(share: number, baseline: BaselineSample, kept?: KeptEvidence, options: EvidenceOptions = {}) {
    const from = isPresent(kept, KINDS) ? kept : nothingSeen(share, KINDS, { margin: DEFAULT_MARGIN, ...options });
    this.share = from.share;
    this.#margin = from.margin;
    this.#floors = from.floors;
    this.#blockMs = options.blockMs;
    this.#baseline = baseline;
    this.requests = { ...from.requests };
    this.units = { ...from.units };
    this.finished = { ...from.finished };
    this.failed = { ...from.failed };
    this.bad = { ...from.bad };
    this.first = { ...from.first };
    this.#before = from.before;
    this.#events = from.events.map(([canaryEvents, baselineEvents]) => ({ canary: canaryEvents, baseline: baselineEvents }));
    this.#steadiness = new Steadiness(STEADY_SERIES, from.share, options.blockMs, from.steadiness);
    this.#carried = from.carried;
    this.#thresholds = TAIL_METRICS.map((_, metric) => from.thresholds[metric] ?? baseline.thresholds(metric) ?? null);
    this.#filter = new UnitFilter(from.filter);
    this.#filterUsed = from.filter !== '';
  }

  /** Takes in one finished request. */
  observe(observation: Observation): void {
    const { canary, failed, unfinished, unit, atMs } = observation;
    if (atMs !== undefined) this.#steadiness.turn(atMs);
    const side = canary ? 'canary' : 'baseline';
    this.requests[side]++;
    if (this.#isFirst(unit, SEEN)) this.units[side]++;
    if (!unfinished && this.#isFirst(unit, FINISHED)) {
      this.finished[side]++;
      if (canary) this.#countFirst(failed);
    }
    if (failed) {
      this.#count(0, side, unit);
      if (this.#isFirst(unit, FAILED)) this.failed[side]++;
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

  /** How often a value of the canary, divided by the metric's floor, was beyond a quantile (its index). */
  countAtFloor(metric: number, quantile: number): number {
    return this.counts(AT_FLOOR + metric, quantile).canary;
  }

  /** The logarithms of the e-values over all stages, one for each ratio. */
  logEValues(index: number, quantile?: number): number[] {
    const kind = kindOf(index, quantile);
    const carried = this.#carried[kind] ?? [];
    return logEValues(this.#events[kind] ?? none(), this.share).map((log, ratio) => log + (carried[ratio] ?? 0));
  }

  /** Units of the whole rollout that had a failed request beyond what the baseline makes of them. */
  get excessFailed(): Excess {
    return addExcess(this.#before?.failed ?? NO_EXCESS, excessOf(this.failed, this.share));
  }

  /** The same with slow requests: see `bad`. */
  get excessBad(): Excess {
    return addExcess(this.#before?.bad ?? NO_EXCESS, excessOf(this.bad, this.share));
  }

  /** Whether a tail of a metric is worse steadily: in the median, or beyond it. */
  isSteady(metric: number): boolean {
    return this.#steadiness.isSteady(metric * 2) || this.#steadiness.isSteady(metric * 2 + 1);
  }

  /** Whether requests are slow steadily, beyond P99 by more than the floor. */
  get isSteadilySlow(): boolean {
    return this.#steadiness.isSteady(SLOW);
  }

  /** Slow requests, as `isSteadilySlow` counts them, beyond the baseline's in the last one or two blocks of time. */
  get recentlySlow(): number {
    return this.#steadiness.recent(SLOW);
  }

  /** Starts the next stage: what was found is carried on by multiplying and the excess by adding, counts and quantiles begin anew. */
  next(share: number): Evidence {
    const empty = nothingSeen(share, KINDS, { margin: this.#margin, floors: this.#floors });
    const next = new Evidence(share, this.#baseline, { ...empty, before: { failed: this.excessFailed, bad: this.excessBad } }, { blockMs: this.#blockMs });
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
      events: this.#events.map(pairOf),
      carried: this.#carried,
      steadiness: this.#steadiness.keep(),
      floors: this.#floors,
      thresholds: this.#thresholds,
      requests: { ...this.requests },
      units: { ...this.units },
      finished: { ...this.finished },
      failed: { ...this.failed },
      bad: { ...this.bad },
      before: this.#before,
      first: { ...this.first },
      filter: this.#filterUsed ? this.#filter.toString() : '',
    };
  }

  get #isComparing(): boolean {
    return this.share > 0 && this.share < 1;
  }

  #observeAnswer({ canary, unfinished, unit, values, empty, cut, repeated, otherFinish }: Observation, side: keyof EventCounts): void {
    if (empty) this.#count(1, side, unit);
    if (cut) this.#count(2, side, unit);
    if (repeated) this.#count(3, side, unit);
    if (otherFinish) this.#count(4, side, unit);
    if (this.#countTails(values, side, unit) && this.#isFirst(unit, BAD)) {
      this.bad[side]++;
      this.#steadiness.add(SLOW, canary);
    }
    if (!canary && !unfinished) this.#baseline.add(values);
  }

  #countFirst(failed: boolean): void {
    if (this.first.count >= FIRST_REQUESTS) return;
    this.first.count++;
    if (failed) this.first.failed++;
  }

  /** @returns true when the latency, the canary's divided by the floor, was above the baseline's P99 */
  #countTails(values: readonly number[], side: keyof EventCounts, unit: string | undefined): boolean {
    for (let metric = 0; metric < TAIL_METRICS.length; metric++) {
      const value = values[metric] ?? Number.NaN;
      const thresholds = (this.#thresholds[metric] ??= this.#baseline.thresholds(metric) ?? null);
      if (!thresholds) continue;
      this.#countBeyond(metric, value, thresholds, side, unit);
      if (side === 'canary') this.#countBeyond(AT_FLOOR + metric, value / this.#floorOf(metric), thresholds, side, unit);
      if (metric === 0) this.#countBeyond(AT_MARGIN, side === 'canary' ? value / this.#margin : value, thresholds, side, unit);
    }
    return this.#isBeyondLast(values, side);
  }

  #isBeyondLast([latency = Number.NaN]: readonly number[], side: keyof EventCounts): boolean {
    const last = this.#thresholds[0]?.[TAIL_QUANTILES.length - 1];
    return last !== undefined && latency > last * (side === 'canary' ? this.#floorOf(0) : 1);
  }

  #floorOf(metric: number): number {
    return this.#floors[metric] ?? DEFAULT_FLOOR;
  }

  #countBeyond(metric: number, value: number, thresholds: readonly number[], side: keyof EventCounts, unit: string | undefined): void {
    for (let quantile = 0; quantile < TAIL_QUANTILES.length && value > (thresholds[quantile] ?? Number.NaN); quantile++) {
      const counted = this.#count(kindOf(metric, quantile), side, unit);
      if (counted && metric < AT_MARGIN) this.#steadiness.add(metric * 2 + (quantile === 0 ? 0 : 1), side === 'canary');
    }
  }

  /** @returns whether it was the unit's first event of the kind */
  #count(kind: number, side: keyof EventCounts, unit: string | undefined): boolean {
    const counts = this.#events[kind];
    if (!counts || !this.#isFirst(unit, kind)) return false;
    counts[side]++;
    return true;
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

function pairOf({ canary, baseline }: EventCounts): readonly [canary: number, baseline: number] {
  return [canary, baseline];
}
