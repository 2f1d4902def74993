import type { AlertEffect, ExecutorState, KeptBudget } from '@mlx-serving/policy';

/** All that survives a restart. */
export interface KeptControl {
  /** When it was kept, unix milliseconds by the clock of the replica that acted. */
  readonly savedAtMs: number;
  readonly executor: ExecutorState;
  /** Alerts that were to be sent and are not known to be delivered. */
  readonly alerts?: readonly AlertEffect[];
}

/** Error budgets by SLO. */
export type KeptBudgets = Readonly<Record<string, KeptBudget>>;

/** Keeps the state of the controller, and says which replica acts. A term is the fencing token: it grows with every change of hands. */
export interface ControlStore {
  /** @returns undefined when there is none, or none that can be read @throws when the store is not reachable */
  load(): Promise<KeptControl | undefined>;
  /**
   * Takes the lease, or keeps it for longer.
   * @param anew whether this process holds no term yet
   * @returns the term, or undefined while another replica acts @throws when the store is not reachable
   */
  acquire(holder: string, ttlMs: number, anew: boolean): Promise<number | undefined>;
  /** Keeps the state, if the replica still acts in this term. @throws when the store is not reachable */
  commit(holder: string, term: number, kept: KeptControl): Promise<boolean>;
  /** @returns none when there are none, or none that can be read @throws when the store is not reachable */
  loadBudgets(): Promise<KeptBudgets>;
  /** Keeps the error budgets, if the replica still acts in this term. @throws when the store is not reachable */
  commitBudgets(holder: string, term: number, kept: KeptBudgets): Promise<boolean>;
  /** Gives the lease back, so that another replica need not wait. */
  release(holder: string, term: number): Promise<void>;
}
