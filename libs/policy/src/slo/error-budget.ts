import type { BurnRate } from './slo-policy.ts';

/** Of the SRE workbook: a page, a page, a ticket. */
export const BURN_RATES: readonly BurnRate[] = [
  { rate: 14.4, long_ms: 3_600_000, short_ms: 300_000 },
  { rate: 6, long_ms: 21_600_000, short_ms: 1_800_000 },
  { rate: 1, long_ms: 259_200_000, short_ms: 7_200_000 },
];

/** How fast a budget burns in one pair of windows: 1 uses it up exactly. */
export interface Burn {
  readonly rate: number;
  readonly long: number;
  readonly short: number;
  readonly burning: boolean;
}

/** A budget's counts as plain JSON. */
export interface KeptBudget {
  readonly slotMs: number;
  /** Number of the slot since 1970, good and bad requests in it; slots without requests are left out. */
  readonly slots: readonly (readonly [slot: number, good: number, bad: number])[];
}

const MOST_SLOTS = 5_000;
const SLOTS_IN_SHORTEST = 5;

/** Good and bad requests over days, in slots, in bounded memory; read over the last part of any length. */
export class ErrorBudget {
  readonly #rates: readonly BurnRate[];
  readonly #budget: number;
  readonly #slotMs: number;
  readonly #good: Float64Array;
  readonly #bad: Float64Array;
  #slot = Number.NaN;

  /** @param objective share of the requests that must be good */
  constructor(objective: number, rates: readonly BurnRate[] = BURN_RATES) {
    this.#rates = rates;
    this.#budget = 1 - objective;
    const longest = Math.max(...rates.map(({ long_ms }) => long_ms));
    const shortest = Math.min(...rates.map(({ short_ms }) => short_ms));
    this.#slotMs = Math.max(shortest / SLOTS_IN_SHORTEST, longest / MOST_SLOTS);
    const slots = Math.ceil(longest / this.#slotMs);
    this.#good = new Float64Array(slots);
    this.#bad = new Float64Array(slots);
  }

  add(good: boolean, nowMs: number): void {
    this.#advance(nowMs);
    const counts = good ? this.#good : this.#bad;
    (counts[this.#slot % counts.length] as number)++;
  }

  /** Both windows of a pair must burn: the long one says that it matters, the short one that it still goes on. */
  read(nowMs: number, leastRequests: number): Burn[] {
    this.#advance(nowMs);
    return this.#rates.map(({ rate, long_ms, short_ms }) => {
      const [long, short] = [this.#speed(long_ms, leastRequests), this.#speed(short_ms, leastRequests)];
      return { rate, long, short, burning: long >= rate && short >= rate };
    });
  }

  /** What is left of it after a restart. */
  keep(nowMs: number): KeptBudget {
    this.#advance(nowMs);
    const slots = this.#good.map((_, back) => this.#slot - back);
    return { slotMs: this.#slotMs, slots: Array.from(slots, (slot): [number, number, number] => [slot, ...this.#countsOf(slot)]).filter(([, good, bad]) => good + bad > 0) };
  }

  /** Takes up what was kept. Of a slot that both know the fuller count holds, so that taking up twice changes nothing. Slots of another length are left. */
  takeUp({ slotMs, slots }: KeptBudget, nowMs: number): void {
    this.#advance(nowMs);
    if (slotMs !== this.#slotMs) return;
    for (const [slot, good, bad] of slots) {
      const [ownGood, ownBad] = this.#countsOf(slot);
      if (slot > this.#slot || slot <= this.#slot - this.#good.length || good + bad <= ownGood + ownBad) continue;
      this.#good[this.#placeOf(slot)] = good;
      this.#bad[this.#placeOf(slot)] = bad;
    }
  }

  #placeOf(slot: number): number {
    const { length } = this.#good;
    return ((slot % length) + length) % length;
  }

  #countsOf(slot: number): [good: number, bad: number] {
    const place = this.#placeOf(slot);
    return [this.#good[place] as number, this.#bad[place] as number];
  }

  #speed(windowMs: number, leastRequests: number): number {
    const slots = Math.min(this.#good.length, Math.ceil(windowMs / this.#slotMs));
    let [good, bad] = [0, 0];
    for (let at = 0; at < slots; at++) {
      const [slotGood, slotBad] = this.#countsOf(this.#slot - at);
      good += slotGood;
      bad += slotBad;
    }
    return good + bad < leastRequests ? 0 : bad / (good + bad) / this.#budget;
  }

  /** Empties the slots that time has passed over. A clock that goes back stays in the present slot. */
  #advance(nowMs: number): void {
    const slot = Math.floor(nowMs / this.#slotMs);
    if (Number.isNaN(this.#slot)) this.#slot = slot;
    const steps = Math.min(slot - this.#slot, this.#good.length);
    for (let step = 0; step < steps; step++) {
      const place = (slot - step) % this.#good.length;
      this.#good[place] = 0;
      this.#bad[place] = 0;
    }
    if (steps > 0) this.#slot = slot;
  }
}
