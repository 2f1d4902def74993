import { Digest } from '@mlx-serving/tdigest';
import { type LimitAlgorithm, type LimitBounds, type LimitSample, within } from './limit-algorithm.ts';

export interface PidSettings {
  /** P95 of the time from admission to the first token that it aims at, in milliseconds. */
  readonly targetMs: number;
  /** Gains on the error as a share of the target; the output is a share of the range between the bounds. */
  readonly proportional?: number;
  readonly integral?: number;
  readonly derivative?: number;
}

const EVERY_MS = 500;
const LEAST_SAMPLES = 3;
/** Weight of the newest error in the derivative. */
const FILTER = 0.3;
/** Greatest change at one step, as a share of the range. */
const SLEW = 0.1;

/**
 * The seeds' controller: raises the limit while first tokens are sooner than the target, and lowers it while they are later.
 * Its output is bounded and slew-limited, the integral stands still at a bound that it pushes against (anti-windup), the derivative
 * is filtered, and it begins where the limit was, so that a hand-over moves nothing (bumpless).
 */
export class PidLimit implements LimitAlgorithm {
  readonly #gains: Required<PidSettings>;
  #bounds: LimitBounds;
  /** 0 to 1, of the range. */
  #output: number;
  #integral: number;
  #slope = 0;
  #lastError: number | undefined;
  #nextMs: number | undefined;
  #times = new Digest();

  constructor(bounds: LimitBounds, settings: PidSettings, start = bounds.greatest) {
    this.#gains = { proportional: 0.1, integral: 0.05, derivative: 0.02, ...settings };
    this.#bounds = bounds;
    this.#output = shareOf(bounds, start);
    this.#integral = this.#output;
  }

  get limit(): number {
    const { least, greatest } = this.#bounds;
    return Math.round(within(this.#bounds, least + this.#output * (greatest - least)));
  }

  observe({ serviceMs, nowMs }: LimitSample): void {
    this.#times.push(serviceMs);
    this.#nextMs ??= nowMs + EVERY_MS;
    if (nowMs < this.#nextMs || this.#times.count < LEAST_SAMPLES) return;
    this.#step(this.#times.percentile(95) as number);
    this.#times = new Digest();
    this.#nextMs = nowMs + EVERY_MS;
  }

  /** The limit stays where it is, as far as the new bounds let it. */
  setBounds(bounds: LimitBounds): void {
    const { limit } = this;
    this.#bounds = bounds;
    const output = shareOf(bounds, limit);
    this.#integral += output - this.#output;
    this.#output = output;
  }

  #step(p95Ms: number): void {
    const { targetMs, proportional, integral, derivative } = this.#gains;
    const error = Math.min(1, Math.max(-1, (targetMs - p95Ms) / targetMs));
    this.#slope += FILTER * (error - (this.#lastError ?? error) - this.#slope);
    this.#lastError = error;
    const wanted = this.#integral + integral * error + proportional * error + derivative * this.#slope;
    const bounded = Math.min(1, Math.max(0, wanted));
    const pushes = (wanted > 1 && error > 0) || (wanted < 0 && error < 0);
    if (!pushes) this.#integral = Math.min(1, Math.max(0, this.#integral + integral * error));
    this.#output += Math.min(SLEW, Math.max(-SLEW, bounded - this.#output));
  }
}

function shareOf({ least, greatest }: LimitBounds, value: number): number {
  return greatest <= least ? 1 : Math.min(1, Math.max(0, (value - least) / (greatest - least)));
}
