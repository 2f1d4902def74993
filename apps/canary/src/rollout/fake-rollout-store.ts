import type { RolloutState } from './rollout-state.ts';
import type { RolloutStore } from './rollout-store.ts';

/** The store in memory, which tests can take away. Its lease ends when the test says so. */
export class FakeRolloutStore implements RolloutStore {
  reachable = true;
  holder: string | undefined;
  commits = 0;
  #text: string | undefined;

  async load(): Promise<RolloutState | undefined> {
    this.#reach();
    return this.#text === undefined ? undefined : (JSON.parse(this.#text) as RolloutState);
  }

  async commit(holder: string, state: RolloutState, follows: number): Promise<boolean> {
    this.#reach();
    return this.holder === holder && this.lower(state, follows);
  }

  async lower(state: RolloutState, follows: number): Promise<boolean> {
    this.#reach();
    const known = this.#text === undefined ? 0 : (JSON.parse(this.#text) as RolloutState).version;
    if (known !== follows) return false;
    this.#text = JSON.stringify(state);
    this.commits++;
    return true;
  }

  async acquire(holder: string, _ttlMs?: number): Promise<boolean> {
    this.#reach();
    this.holder ??= holder;
    return this.holder === holder;
  }

  async release(holder: string): Promise<void> {
    if (this.holder === holder) this.holder = undefined;
  }

  #reach(): void {
    if (!this.reachable) throw new Error('the store is away');
  }
}
