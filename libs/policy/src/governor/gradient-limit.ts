import { type LimitAlgorithm, type LimitBounds, type LimitSample, within } from './limit-algorithm.ts';

/** A time longer than usual by this factor is no sign of a queue yet. */
const TOLERANCE = 1.5;
/** About how many samples the usual time looks back over. */
const LONG_SAMPLES = 600;
const FIRST_SAMPLES = 10;
const SMOOTHING = 0.2;
/** When what is usual was measured in a jam it comes down so fast. */
const DRIFT = 0.95;

/**
 * The gradient of Netflix's concurrency-limits (Gradient2): the limit shrinks by as much as the time to the first token has grown
 * over what is usual, and else grows by the square root of itself, which is the queue that it allows.
 */
export class GradientLimit implements LimitAlgorithm {
  #bounds: LimitBounds;
  #limit: number;
  #usualMs = 0;
  #samples = 0;

  constructor(bounds: LimitBounds, start = bounds.greatest) {
    this.#bounds = bounds;
    this.#limit = within(bounds, start);
  }

  get limit(): number {
    return Math.floor(this.#limit);
  }

  observe({ serviceMs, inflight }: LimitSample): void {
    if (!(serviceMs > 0 && Number.isFinite(serviceMs))) return;
    this.#learn(serviceMs);
    // A limit that is not reached says nothing about whether more would be too many.
    if (inflight < this.#limit / 2) return;
    const gradient = Math.min(1, Math.max(0.5, (TOLERANCE * this.#usualMs) / serviceMs));
    const next = this.#limit * gradient + Math.sqrt(this.#limit);
    this.#limit = within(this.#bounds, this.#limit * (1 - SMOOTHING) + next * SMOOTHING);
  }

  setBounds(bounds: LimitBounds): void {
    this.#bounds = bounds;
    this.#limit = within(bounds, this.#limit);
  }

  #learn(serviceMs: number): void {
    this.#samples++;
    const weight = this.#samples <= FIRST_SAMPLES ? 1 / this.#samples : 2 / (LONG_SAMPLES + 1);
    this.#usualMs += weight * (serviceMs - this.#usualMs);
    if (this.#usualMs / serviceMs > 2) this.#usualMs *= DRIFT;
  }
}
