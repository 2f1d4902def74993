import { errors } from '../errors.ts';

export interface AdmissionQueueOptions {
  /** Most requests that are admitted at one time, read at each step. */
  readonly limit: () => number;
  /** Most requests that wait, read at each step. */
  readonly maxQueued: () => number;
  /** Called after every change of the numbers. */
  readonly onChange?: (active: number, queued: number) => void;
  readonly now?: () => number;
}

interface Waiting {
  readonly admit: () => void;
}

/** Share of the newest request in the moving average of how long a place is held. */
const SMOOTHING = 0.1;
const LONGEST_RETRY_MS = 60_000;

/** The bounded queue before the workers: first in, first out. Beyond its bound a request is refused at once. */
export class AdmissionQueue {
  readonly #options: AdmissionQueueOptions;
  readonly #now: () => number;
  readonly #waiting = new Set<Waiting>();
  #active = 0;
  #averageHoldMs = 1_000;

  constructor(options: AdmissionQueueOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  get active(): number {
    return this.#active;
  }

  get queued(): number {
    return this.#waiting.size;
  }

  /**
   * Waits for a place. A signal that aborts while it waits frees its seat in the queue at once.
   * @returns gives the place back; calling it again does nothing
   * @throws QUEUE_FULL with the time to retry after, or the signal's reason
   */
  async acquire(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#active >= this.#options.limit() || this.#waiting.size > 0) await this.#wait(signal);
    else this.#active++;
    this.#changed();
    const admittedAt = this.#now();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#active--;
      this.#averageHoldMs += SMOOTHING * (this.#now() - admittedAt - this.#averageHoldMs);
      this.admitWaiting();
    };
  }

  /** Admits whoever waits as far as the limit allows. Call it when the limit has changed. */
  admitWaiting(): void {
    for (const waiting of this.#waiting) {
      if (this.#active >= this.#options.limit()) break;
      this.#waiting.delete(waiting);
      this.#active++;
      waiting.admit();
    }
    this.#changed();
  }

  /** When a place should be free for one more, from how long places were held of late. */
  get retryAfterMs(): number {
    const expected = ((this.#waiting.size + 1) * this.#averageHoldMs) / this.#options.limit();
    return Math.min(LONGEST_RETRY_MS, Math.max(1_000, expected));
  }

  #wait(signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= this.#options.maxQueued()) {
      const retryAfterMs = this.retryAfterMs;
      throw errors.QUEUE_FULL({ seconds: Math.ceil(retryAfterMs / 1_000) }, { retryAfterMs });
    }
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(waiting);
        this.#changed();
        reject(signal.reason as Error);
      };
      const waiting: Waiting = {
        admit: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.add(waiting);
      this.#changed();
    });
  }

  #changed(): void {
    this.#options.onChange?.(this.#active, this.#waiting.size);
  }
}
