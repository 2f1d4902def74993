import type { Logger } from '@mlx-serving/service-kit';
import { emptyState, type RolloutState } from './rollout-state.ts';
import type { RolloutStore } from './rollout-store.ts';

export interface StateKeeperOptions {
  readonly store: RolloutStore;
  /** This replica's name. One that restarts under the same name takes over its own lease at once. */
  readonly holder: string;
  /** Called when another replica acts from now on, or when this one does. */
  readonly onActing: (acting: boolean) => void;
  readonly logger: Logger;
  readonly leaseMs?: number;
}

const LEASE_MS = 3_000;

/**
 * The rollout's state, changed by one replica only, one change after the other. While the store is away the replica that
 * acts goes on from memory, and keeps what it did when the store is back: a rollback waits for nobody.
 */
export class StateKeeper {
  readonly #options: StateKeeperOptions;
  #state: RolloutState = emptyState;
  /** The version that the store has. */
  #kept = 0;
  #acting = false;
  #unsaved = false;
  #problem: string | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: StateKeeperOptions) {
    this.#options = options;
  }

  get state(): RolloutState {
    return this.#state;
  }

  get acting(): boolean {
    return this.#acting;
  }

  /** Why the state is not kept; undefined while it is. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Takes the lease when it is free. Never rejects. */
  async start(): Promise<void> {
    await this.#enqueue(() => this.#renew());
    clearInterval(this.#timer);
    this.#timer = setInterval(() => void this.#enqueue(() => this.#renew()), (this.#options.leaseMs ?? LEASE_MS) / 3);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#queue;
    if (this.#acting) await this.#options.store.release(this.#options.holder).catch(() => undefined);
    this.#acting = false;
  }

  /**
   * Changes the state in one step. `next` gives the very state that it got when there is nothing to change.
   * @returns whether it changed
   * @throws Error from `next`; then nothing changed
   */
  change(next: (state: RolloutState) => RolloutState): Promise<boolean> {
    return this.#enqueue(async () => {
      const changed = next(this.#state);
      if (changed === this.#state || !this.#acting) return false;
      this.#state = { ...changed, version: this.#state.version + 1 };
      await this.#save();
      return true;
    });
  }

  #enqueue<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(step);
    this.#queue = done.catch(() => undefined);
    return done;
  }

  async #save(): Promise<void> {
    const { store, holder } = this.#options;
    try {
      if (!(await store.commit(holder, this.#state, this.#kept)) && !(await this.#saveAnew())) return;
      this.#kept = this.#state.version;
      this.#unsaved = false;
      this.#problem = undefined;
    } catch (error) {
      this.#unsaved = true;
      this.#lacks(error);
    }
  }

  /** The version was another one: an answer of ours was lost, or another replica took over. */
  async #saveAnew(): Promise<boolean> {
    const { store, holder, leaseMs = LEASE_MS } = this.#options;
    if (!(await store.acquire(holder, leaseMs))) {
      this.#act(false);
      return false;
    }
    this.#kept = (await store.load())?.version ?? 0;
    this.#state = { ...this.#state, version: Math.max(this.#state.version, this.#kept + 1) };
    return store.commit(holder, this.#state, this.#kept);
  }

  async #renew(): Promise<void> {
    const { store, holder, leaseMs = LEASE_MS } = this.#options;
    try {
      const mine = await store.acquire(holder, leaseMs);
      if (mine && !this.#acting) await this.#takeOver();
      if (mine && this.#unsaved) await this.#save();
      if (!mine) this.#act(false);
      else this.#problem = this.#unsaved ? this.#problem : undefined;
    } catch (error) {
      this.#lacks(error);
      // Nobody can be asked. One that has just started acts as well: the gateways take the higher revision.
      if (!this.#acting && this.#state === emptyState) this.#act(true);
    }
  }

  async #takeOver(): Promise<void> {
    const found = await this.#options.store.load();
    if (found) this.#state = { ...emptyState, ...found, counterfactual: { ...emptyState.counterfactual, ...found.counterfactual } };
    this.#kept = found?.version ?? 0;
    this.#act(true);
  }

  #act(acting: boolean): void {
    if (acting === this.#acting) return;
    this.#acting = acting;
    this.#options.logger.info({ holder: this.#options.holder, version: this.#state.version, phase: this.#state.phase }, acting ? 'this replica acts' : 'another replica acts');
    this.#options.onActing(acting);
  }

  #lacks(error: unknown): void {
    this.#problem = `the store is not reachable (${error instanceof Error ? error.message : String(error)}); the rollout is not kept`;
  }
}
