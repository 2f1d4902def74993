import { randomUUID } from 'node:crypto';
import type { Logger } from '@mlx-serving/service-kit';
import type { CountBatch, DecisionTotals, FlagStore } from '../store/flag-store.ts';

const FLUSH_MS = 1_000;

export interface DecisionCounterOptions {
  readonly store: Pick<FlagStore, 'addDecisions'>;
  readonly logger: Logger;
  /** Only these names are counted, so that neither metrics nor Redis grow without bound. */
  readonly isKnown: (name: string) => boolean;
  readonly onCounted: (name: string, totals: DecisionTotals) => void;
}

/** Counts decisions in memory and adds them to the store once a second (SPEC F17); a crash loses one second, and none is counted twice. */
export class DecisionCounter {
  readonly #options: DecisionCounterOptions;
  #waiting = new Map<string, DecisionTotals>();
  /** Sent, and not confirmed: it may be in the store already, so it is sent again as it was. */
  #unconfirmed: { readonly counts: ReadonlyMap<string, DecisionTotals>; readonly batch: CountBatch } | undefined;
  readonly #source = randomUUID();
  #batches = 0;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(options: DecisionCounterOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.flush(), FLUSH_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
    // What came while a former batch was not confirmed.
    if (!this.#unconfirmed) await this.flush();
  }

  add(name: string, totals: DecisionTotals): void {
    if (!this.#options.isKnown(name)) return;
    this.#keep(name, totals);
    this.#options.onCounted(name, totals);
  }

  /** Decisions that the store does not know of yet, or has not confirmed. */
  waitingOf(name: string): DecisionTotals {
    return sum(this.#waiting.get(name), this.#unconfirmed?.counts.get(name));
  }

  /** Adds what waits to the store; what it does not confirm is sent again. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#flushOnce());
    return this.#flushing;
  }

  async #flushOnce(): Promise<void> {
    if (!this.#unconfirmed) {
      if (this.#waiting.size === 0) return;
      this.#unconfirmed = { counts: this.#waiting, batch: { source: this.#source, number: ++this.#batches } };
      this.#waiting = new Map();
    }
    try {
      await this.#options.store.addDecisions(this.#unconfirmed.counts, this.#unconfirmed.batch);
      this.#unconfirmed = undefined;
    } catch (error) {
      this.#options.logger.debug({ problem: error instanceof Error ? error.message : String(error) }, 'decision counts wait for the store');
    }
  }

  #keep(name: string, totals: DecisionTotals): void {
    this.#waiting.set(name, sum(this.#waiting.get(name), totals));
  }
}

const NONE: DecisionTotals = Object.freeze({ enabled: 0n, disabled: 0n });

function sum(one = NONE, other = NONE): DecisionTotals {
  return { enabled: one.enabled + other.enabled, disabled: one.disabled + other.disabled };
}
