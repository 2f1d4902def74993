import type { StreamReport } from '@mlx-serving/contracts';

/** A limit that qos lends; without renewal it ends by itself (SPEC Q3). */
export interface LimitLease {
  readonly limit: number;
  readonly ttlMs: number;
}

/** Says how many requests may be at the workers at one time. Whoever changes the answer calls TrafficControl's `onChange`. */
export interface Governor {
  /** Now; at least 1. */
  limit(): number;
  /** The setting of runtime.yaml. */
  configure(setting: number): void;
  lend(lease: LimitLease): void;
  /** One finished request. */
  onSample(report: StreamReport): void;
  stop(): void;
}
