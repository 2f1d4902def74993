export interface MemoryReading {
  /** Memory that MLX has allocated and not yet freed. */
  readonly activeBytes: number;
  readonly runningRequests: number;
  /** 0 is no limit. */
  readonly limitBytes: number;
}

/** Share of the limit that may be planned with. */
const PLANNED = 0.9;
/** How much of the greatest need of a request is forgotten with each reading. */
const FORGOTTEN = 0.001;
/** Below this a difference is noise. */
const LEAST_REQUEST_BYTES = 64 * 1024;

/** The most requests that a worker's memory takes, learned from what requests have taken so far (SPEC Q7). */
export class MemoryCeiling {
  #idleBytes: number | undefined;
  #requestBytes = 0;
  #limitBytes = 0;

  observe({ activeBytes, runningRequests, limitBytes }: MemoryReading): void {
    if (!(activeBytes >= 0 && limitBytes >= 0)) return;
    this.#limitBytes = limitBytes;
    if (runningRequests === 0) this.#idleBytes = activeBytes;
    else if (this.#idleBytes !== undefined) {
      const each = (activeBytes - this.#idleBytes) / runningRequests;
      this.#requestBytes = Math.max(each, this.#requestBytes * (1 - FORGOTTEN));
    }
  }

  /** At least 1; without a limit, or before a request was seen, no ceiling. */
  get value(): number {
    if (this.#limitBytes === 0 || this.#idleBytes === undefined || this.#requestBytes < LEAST_REQUEST_BYTES) return Number.POSITIVE_INFINITY;
    return Math.max(1, Math.floor((this.#limitBytes * PLANNED - this.#idleBytes) / this.#requestBytes));
  }
}
