import type { Logger } from '@mlx-serving/service-kit';
import type { ControlStore, KeptBudgets, KeptControl } from './control-store.ts';

export interface ControlKeeperOptions {
  readonly store: ControlStore;
  /** This replica's name. One that restarts under the same name takes over its own lease at once. */
  readonly holder: string;
  /** Called with what was kept whenever this replica begins to act, and at each look while another one does. */
  readonly onKept: (kept: KeptControl | undefined, acting: boolean) => void;
  /** Called with the error budgets that were kept whenever this replica begins to act. */
  readonly onBudgets: (kept: KeptBudgets) => void;
  readonly logger: Logger;
  /** A monotonic clock in milliseconds. */
  readonly now: () => number;
  readonly leaseMs?: number;
}

const LEASE_MS = 5_000;

/** Holds the lease of the acting replica. While the store is away nobody acts: what is in force runs out by itself. */
export class ControlKeeper {
  readonly #options: ControlKeeperOptions;
  #term: number | undefined;
  #actsUntil = 0;
  #problem: string | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ControlKeeperOptions) {
    this.#options = options;
  }

  /** Whether this replica may act now. A process that was held up finds that its time is over. */
  get acting(): boolean {
    return this.#term !== undefined && this.#options.now() < this.#actsUntil;
  }

  /** The fencing token; 0 while another replica acts. */
  get term(): number {
    return this.acting ? (this.#term ?? 0) : 0;
  }

  /** Why nothing can be kept; undefined while it can. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Takes the lease when it is free. Never rejects. */
  async start(): Promise<void> {
    await this.#enqueue(() => this.#renew());
    this.#timer = setInterval(() => void this.#enqueue(() => this.#renew()), (this.#options.leaseMs ?? LEASE_MS) / 4);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#queue;
    if (this.#term !== undefined) await this.#options.store.release(this.#options.holder, this.#term).catch(() => undefined);
    this.#term = undefined;
  }

  /** Keeps a state. Never rejects; one that another replica has overtaken is dropped. */
  save(kept: KeptControl): Promise<void> {
    return this.#enqueue(async () => {
      if (!this.acting || this.#term === undefined) return;
      if (!(await this.#options.store.commit(this.#options.holder, this.#term, kept))) this.#lose();
    });
  }

  /** Keeps the error budgets. Never rejects. */
  saveBudgets(kept: KeptBudgets): Promise<void> {
    return this.#enqueue(async () => {
      if (!this.acting || this.#term === undefined) return;
      if (!(await this.#options.store.commitBudgets(this.#options.holder, this.#term, kept))) this.#lose();
    });
  }

  async #renew(): Promise<void> {
    const { store, holder, onKept, onBudgets, now, leaseMs = LEASE_MS } = this.#options;
    const askedAt = now();
    const held = this.acting;
    const term = await store.acquire(holder, leaseMs, !held);
    if (term === undefined) this.#lose();
    if (term === undefined || !held) onKept(await store.load(), term !== undefined);
    if (term !== undefined && !held) onBudgets(await store.loadBudgets());
    if (term !== undefined) {
      this.#actsUntil = askedAt + leaseMs;
      if (!held) this.#options.logger.info({ holder, term }, 'this replica acts');
      this.#term = term;
    }
    this.#problem = undefined;
  }

  #lose(): void {
    if (this.#term !== undefined) this.#options.logger.warn({ holder: this.#options.holder }, 'another replica acts');
    this.#term = undefined;
  }

  #enqueue(step: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(step).catch((error: Error) => {
      this.#problem = `the store is not reachable (${error.message}); nothing is done`;
    });
    this.#queue = done;
    return done;
  }
}
