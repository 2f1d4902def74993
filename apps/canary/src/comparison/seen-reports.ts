import type { StreamReport } from '@mlx-serving/contracts';

/** Remembers the last reports, so that one that a gateway sends again after a reconnect counts once. */
export class SeenReports {
  readonly #capacity: number;
  readonly #keys = new Set<string>();

  /** @param capacity most reports that are remembered; beyond it the oldest is forgotten */
  constructor(capacity = 50_000) {
    this.#capacity = capacity;
  }

  /** @returns true the first time. A report without a request id is always new. */
  isNew(report: StreamReport): boolean {
    const requestId = report.decision?.requestId;
    if (!requestId) return true;
    // Clients may choose request ids, so two requests can share one; gateway, start and place among several answers tell them apart.
    const key = `${requestId} ${report.gatewayId} ${report.startedAtMs} ${report.choice}`;
    if (this.#keys.has(key)) return false;
    this.#keys.add(key);
    if (this.#keys.size > this.#capacity) this.#forgetOldest();
    return true;
  }

  #forgetOldest(): void {
    const [oldest] = this.#keys;
    if (oldest !== undefined) this.#keys.delete(oldest);
  }
}
