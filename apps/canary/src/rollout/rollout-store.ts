import type { RolloutState } from './rollout-state.ts';

/** Keeps the rollout over restarts, and says which replica acts. */
export interface RolloutStore {
  /** @returns undefined when there is none, or none that can be read @throws when the store is not reachable */
  load(): Promise<RolloutState | undefined>;
  /**
   * Keeps a state in one step, when the replica acts and the kept version is the one that the state follows.
   * @returns false when another replica acts, or has changed the state
   * @throws when the store is not reachable
   */
  commit(holder: string, state: RolloutState, follows: number): Promise<boolean>;
  /**
   * Keeps a state that only ends the kept one, whoever acts: the one that does finds another version than its own.
   * @returns false when the kept version is another one
   * @throws when the store is not reachable
   */
  lower(state: RolloutState, follows: number): Promise<boolean>;
  /** Takes the lease, or keeps it for longer. @returns whether this replica acts now @throws when the store is not reachable */
  acquire(holder: string, ttlMs: number): Promise<boolean>;
  /** Gives the lease back, so that another replica need not wait. */
  release(holder: string): Promise<void>;
}
