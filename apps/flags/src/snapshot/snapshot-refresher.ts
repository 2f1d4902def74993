import type { Logger } from '@mlx-serving/service-kit';
import type { FlagChange, FlagStore, StoredState } from '../store/flag-store.ts';
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
  /** Called after each full read whose state was taken over, and when there was nothing new to read. */
  readonly onLoaded: () => void;
  readonly onPeerMessage: (text: string) => void;
}

/** Keeps the flags in force up to date with the store, off the path of any request (SPEC F11). */
export class SnapshotRefresher {
  readonly #options: SnapshotRefresherOptions;
  #current: Promise<void> = Promise.resolve();
  #queued: Promise<void> | undefined;
  #timers: NodeJS.Timeout[] = [];
  #problem = 'not read since the start';
  #lost: StoredState | undefined;

  constructor(options: SnapshotRefresherOptions) {
    this.#options = options;
  }

  /** Why the last read of the store failed; empty when it did not. */
  get problem(): string {
    return this.#problem;
  }

  /** What a store holds that has lost what is known here; undefined as long as all is well. */
  get lost(): StoredState | undefined {
    return this.#lost;
  }

  start(): void {
    const { store, refreshMs, revisionCheckMs, onPeerMessage } = this.#options;
    store.start({ onChange: (change) => void this.#follow(change), onConnected: () => void this.reload().catch(() => undefined), onPeerMessage });
    this.#timers = [
      setInterval(() => void this.#refresh(), refreshMs).unref(),
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
      const state = await store.load(live.known);
      if (state.lost) return this.#refuse(state);
      live.replace(state);
      if (this.#lost) logger.info({ revision: String(state.revision) }, 'it is decided what holds after the loss of the flag store');
      else if (this.#problem) logger.info('the flag store can be read');
      this.#problem = '';
      this.#lost = undefined;
      onLoaded();
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  /** An empty store is not "all flags deleted": what is known here stays in force until an operator decides (SPEC F14). */
  #refuse(state: StoredState): void {
    const { live, logger } = this.#options;
    const isNews = this.#lost === undefined;
    this.#lost = state;
    this.#problem = `redis has lost data: it is at revision ${state.revision} with ${state.flags.size} flags, and revision ${live.storeRevision} with ${live.flags.length} flags was known${state.revision < live.storeRevision ? '' : ', of which its audit trail knows nothing'}; an operator must accept or reseed it`;
    if (isNews) logger.error({ problem: this.#problem }, 'the flags that were known stay in force');
  }

  async #follow(change: FlagChange): Promise<void> {
    const { store, live } = this.#options;
    if (change.revision <= live.storeRevision && !this.#lost && !change.records) return;
    try {
      const next = change.revision === live.storeRevision + 1n && !change.records && !this.#lost;
      const state = next ? await store.read(change.names) : undefined;
      // Only the very revision that was announced is known to have touched these names alone.
      if (state && (state.revision !== change.revision || !live.apply(state, change.names, change.emergency))) await this.reload();
      if (!state) await this.reload();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** What is the same as before is not read again. */
  async #refresh(): Promise<void> {
    const { store, live, onLoaded } = this.#options;
    try {
      const settled = live.takenAtMs !== undefined && this.#problem === '';
      const head = settled ? await store.check(live.known) : undefined;
      if (!head) return await this.reload();
      live.touch(head);
      onLoaded();
    } catch (error) {
      this.#failed(error);
    }
  }

  async #compareRevisions(): Promise<void> {
    const { store, live } = this.#options;
    try {
      if (live.takenAtMs === undefined || this.#problem !== '' || (await store.revision()) !== live.storeRevision) await this.reload();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#options.onStoreError();
    const problem = error instanceof Error ? error.message : String(error);
    if (problem === this.#problem || this.#lost) return;
    this.#problem = problem;
    this.#options.logger.warn({ problem }, 'the flag store cannot be read; the last known flags stay in force, trying again');
  }
}
