import { type FlagConfig, flagInEnvironment, parentOf } from '@mlx-serving/policy';
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
    for (const { name, revision } of flags) {
      const sinceMs = changedAt.get(revision);
      // Nobody knows since when a flag is as it is whose entry is gone: it is not called stale.
      if (sinceMs === undefined || sinceMs > before) continue;
      const { enabled, disabled } = await this.#store.decisions(name);
      const decisions = enabled + disabled;
      if (decisions === 0n) found.push({ name, why: 'never-evaluated', sinceMs, decisions });
      else if (this.#isOnForEveryone(name)) found.push({ name, why: 'rolled-out', sinceMs, decisions });
    }
    return found;
  }

  /** In every environment, with its parent and whatever else it requires; what it requires is free of circles. */
  #isOnForEveryone(name: string): boolean {
    const flag = this.#live.get(name);
    if (!flag || flag.kill || flag.config.killSwitch) return false;
    const parent = parentOf(name);
    return ['', ...Object.keys(flag.config.environments)].every((environment) => {
      const config = flagInEnvironment(flag.config, environment);
      return excludesNobody(config) && [...config.requires, ...(parent === undefined ? [] : [parent])].every((other) => this.#isOnForEveryone(other));
    });
  }
}

function excludesNobody({ enabled, rolloutPercentage, whitelistOnly, rules, segments, blacklist, variants }: FlagConfig): boolean {
  return enabled && rolloutPercentage >= 100 && !whitelistOnly && [rules, segments, blacklist, variants].every(({ length }) => length === 0);
}
