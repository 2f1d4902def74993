import type { Logger } from '@mlx-serving/service-kit';
import type { FlagChange, FlagStore } from '../store/flag-store.ts';
import type { LiveFlags } from './live-flags.ts';

export interface SnapshotRefresherOptions {
  readonly store: FlagStore;
  readonly live: LiveFlags;
  readonly logger: Logger;
  /** How often everything is read, in milliseconds: a raw HSET of another tool is seen no later. */
  readonly refreshMs: number;
  /** How often revisions are compared, in milliseconds: a message that got lost is made up for no later. */
  readonly revisionCheckMs: number;
  readonly onStoreError: () => void;
  /** Called after each full read. `reset` says that the store had lost what was known here. */
  readonly onLoaded: (reset: boolean) => void;
}

/** Keeps the flags in force up to date with the store, off the path of any request (SPEC F11). */
export class SnapshotRefresher {
  readonly #options: SnapshotRefresherOptions;
  #current: Promise<void> = Promise.resolve();
  #queued: Promise<void> | undefined;
  #timers: NodeJS.Timeout[] = [];
  #problem = '';

  constructor(options: SnapshotRefresherOptions) {
    this.#options = options;
  }

  /** Why the last read of the store failed; empty when it did not. */
  get problem(): string {
    return this.#problem;
  }

  start(): void {
    const { store, refreshMs, revisionCheckMs } = this.#options;
    store.start({ onChange: (change) => void this.#follow(change), onConnected: () => void this.reload().catch(() => undefined) });
    this.#timers = [
      setInterval(() => void this.reload().catch(() => undefined), refreshMs).unref(),
      setInterval(() => void this.#compareRevisions(), revisionCheckMs).unref(),
    ];
  }

  stop(): void {
    this.#timers.forEach((timer) => clearInterval(timer));
  }

  /** Reads everything, beginning after this call. Calls that come while one waits share it. */
  reload(): Promise<void> {
    this.#queued ??= this.#current
      .catch(() => undefined)
      .then(() => {
        this.#queued = undefined;
        this.#current = this.#load();
        return this.#current;
      });
    return this.#queued;
  }

  async #load(): Promise<void> {
    const { store, live, logger, onLoaded } = this.#options;
    try {
      const state = await store.load(live.revision);
      if (state.reset) logger.error({ revision: String(state.revision) }, 'redis has lost a revision that was known here: it was emptied or put back');
      live.replace(state);
      if (this.#problem) logger.info('the flag store can be read again');
      this.#problem = '';
      onLoaded(state.reset);
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  async #follow(change: FlagChange): Promise<void> {
    const { store, live } = this.#options;
    if (change.revision <= live.revision) return;
    try {
      const next = change.revision === live.revision + 1n;
      const state = next ? await store.read(change.names) : undefined;
      // Only the very revision that was announced is known to have touched these names alone.
      if (state && (state.revision !== change.revision || !live.apply(state, change.names, change.emergency))) await this.reload();
      if (!state) await this.reload();
    } catch (error) {
      this.#failed(error);
    }
  }

  async #compareRevisions(): Promise<void> {
    const { store, live } = this.#options;
    try {
      if (live.takenAtMs === undefined || (await store.revision()) !== live.revision) await this.reload();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#options.onStoreError();
    const problem = error instanceof Error ? error.message : String(error);
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.logger.warn({ problem }, 'the flag store cannot be read; the last known flags stay in force, trying again');
  }
}
