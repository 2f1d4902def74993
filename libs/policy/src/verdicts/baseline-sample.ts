import { TAIL_METRICS, TAIL_QUANTILES } from './metrics-judged.ts';

/** Values of the baseline from which quantiles are read. */
export const LEAST_BASELINE_VALUES = 100;
const CAPACITY = 1_000;

/** The baseline's last values of every metric. Quantiles are read from it before the data that they judge. */
export class BaselineSample {
  readonly #values = TAIL_METRICS.map(() => new Float64Array(CAPACITY));
  readonly #counts = TAIL_METRICS.map(() => 0);

  /** @param values by the order of TAIL_METRICS; NaN is left out */
  add(values: readonly number[]): void {
    for (let metric = 0; metric < TAIL_METRICS.length; metric++) {
      const value = values[metric] ?? Number.NaN;
      const ring = this.#values[metric];
      if (!ring || !Number.isFinite(value)) continue;
      const count = this.#counts[metric] ?? 0;
      ring[count % CAPACITY] = value;
      this.#counts[metric] = count + 1;
    }
  }

  /** The quantiles TAIL_QUANTILES of one metric, or undefined while there are too few values. */
  thresholds(metric: number): number[] | undefined {
    const count = Math.min(this.#counts[metric] ?? 0, CAPACITY);
    if (count < LEAST_BASELINE_VALUES) return undefined;
    const sorted = (this.#values[metric] ?? new Float64Array()).slice(0, count).sort();
    return TAIL_QUANTILES.map((quantile) => sorted[Math.min(count - 1, Math.ceil((quantile / 100) * count) - 1)] ?? Number.NaN);
  }
}
