import type { Variant } from '@mlx-serving/policy';
import type { MetricsSnapshot, Readiness } from '@mlx-serving/service-kit';

/** A worker's lease at one process, which the others take over. */
export interface SharedLease {
  readonly variant: Variant;
  readonly address: string;
}

/** It began or ended. */
export interface LeaseChange extends SharedLease {
  readonly kind: 'lease';
  readonly change: 'joined' | 'left';
}

/** One process as it shows itself. */
export interface ProcessState {
  readonly pid: number;
  readonly metrics: MetricsSnapshot;
  readonly readiness: Readiness;
}

/** What a process of the gateway tells the one that started it. */
export type FromProcess =
  | { readonly kind: 'started'; readonly stopLimitMs: number }
  | LeaseChange
  | ({ readonly kind: 'state'; readonly question: number } & ProcessState);

/** What it is told. */
export type ToProcess = LeaseChange | { readonly kind: 'show'; readonly question: number };
