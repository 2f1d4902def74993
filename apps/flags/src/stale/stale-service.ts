import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { FlagStore } from '../store/flag-store.ts';
import type { AuditService } from '../audit/audit-service.ts';

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
  readonly #audit: AuditService;

  constructor(store: FlagStore, live: LiveFlags, audit: AuditService) {
    this.#store = store;
    this.#live = live;
    this.#audit = audit;
  }

  /** @param stableMs how long a flag must have been as it is; 0 for two weeks */
  async list(stableMs: number): Promise<StaleFlag[]> {
    const before = Date.now() - (stableMs || TWO_WEEKS_MS);
    const changedAt = await this.#audit.lastChanges();
    const found: StaleFlag[] = [];
    for (const { name, config } of this.#live.flags) {
      const sinceMs = changedAt.get(name) ?? 0;
      if (sinceMs > before) continue;
      const { enabled, disabled } = await this.#store.decisions(name);
      const decisions = enabled + disabled;
      const rolledOut = config.enabled && config.rolloutPercentage >= 100 && config.rules.length === 0 && config.segments.length === 0 && config.blacklist.length === 0 && config.variants.length === 0;
      if (decisions === 0n) found.push({ name, why: 'never-evaluated', sinceMs, decisions });
      else if (rolledOut) found.push({ name, why: 'rolled-out', sinceMs, decisions });
    }
    return found;
  }
}
