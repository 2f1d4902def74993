import { type LimitAlgorithm, type LimitBounds, within } from './limit-algorithm.ts';

/** Share of the way to its goal that it goes with each sample, and at least one. */
const STEP = 0.1;

/** The setting itself. One that takes over from a learning one comes to it step by step. */
export class FixedLimit implements LimitAlgorithm {
  #bounds: LimitBounds;
  #limit: number;

  constructor(bounds: LimitBounds, start = bounds.greatest) {
    this.#bounds = bounds;
    this.#limit = within(bounds, Math.round(start));
  }

  get limit(): number {
    return this.#limit;
  }

  observe(): void {
    const way = within(this.#bounds, this.#bounds.greatest) - this.#limit;
    this.#limit += Math.sign(way) * Math.min(Math.abs(way), Math.max(1, Math.round(Math.abs(way) * STEP)));
  }

  /** A setting that was changed by hand holds at once. */
  setBounds(bounds: LimitBounds): void {
    const changed = bounds.greatest !== this.#bounds.greatest;
    this.#bounds = bounds;
    this.#limit = changed ? within(bounds, bounds.greatest) : within(bounds, this.#limit);
  }
}
