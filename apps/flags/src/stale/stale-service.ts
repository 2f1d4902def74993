import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { FlagStore } from '../store/flag-store.ts';

const TWO_WEEKS_MS = 14 * 24 * 3_600_000;

export interface StaleFlag {
  readonly name: string;
  readonly why: 'rolled-out' | 'never-evaluated';
  /** Unix time in milliseconds of the last change. */
  readonly sinceMs: number;
  readonly decisions: bigint;
}

/** Flags that seem to be done with: fully on and unchanged for two weeks, or never asked for (SPEC F25). */
export class StaleService {
  readonly #store: FlagStore;
  readonly #live: LiveFlags;

  constructor(store: FlagStore, live: LiveFlags) {
    this.#store = store;
    this.#live = live;
  }

  /** @param stableMs how long a flag must have been as it is; 0 for two weeks */
  async list(stableMs: number): Promise<StaleFlag[]> {
    const before = Date.now() - (stableMs || TWO_WEEKS_MS);
    const flags = this.#live.flags;
    const changedAt = await this.#store.changedAt(flags.map(({ revision }) => revision));
    const found: StaleFlag[] = [];
    for (const { name, config, revision } of flags) {
      const sinceMs = changedAt.get(revision);
      // Nobody knows since when a flag is as it is whose entry is gone: it is not called stale.
      if (sinceMs === undefined || sinceMs > before) continue;
      const { enabled, disabled } = await this.#store.decisions(name);
      const decisions = enabled + disabled;
      const rolledOut = config.enabled && config.rolloutPercentage >= 100 && config.rules.length === 0 && config.segments.length === 0 && config.blacklist.length === 0 && config.variants.length === 0;
      if (decisions === 0n) found.push({ name, why: 'never-evaluated', sinceMs, decisions });
      else if (rolledOut) found.push({ name, why: 'rolled-out', sinceMs, decisions });
    }
    return found;
  }
}
