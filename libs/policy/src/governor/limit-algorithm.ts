/** What one finished request tells a limit. */
export interface LimitSample {
  /** From its admission to its first token, in milliseconds: what the worker took, without the wait in the queue. */
  readonly serviceMs: number;
  /** Requests at the workers when it finished. */
  readonly inflight: number;
  /** A monotonic clock in milliseconds. */
  readonly nowMs: number;
}

export interface LimitBounds {
  readonly least: number;
  readonly greatest: number;
}

/** Says how many requests may be at the workers, and learns it from those that finish. Always a whole number within its bounds (SPEC Q7). */
export interface LimitAlgorithm {
  readonly limit: number;
  observe(sample: LimitSample): void;
  setBounds(bounds: LimitBounds): void;
}

export function within({ least, greatest }: LimitBounds, value: number): number {
  const floor = Math.max(1, Math.min(least, greatest));
  return Math.min(Math.max(floor, greatest), Math.max(floor, value));
}
