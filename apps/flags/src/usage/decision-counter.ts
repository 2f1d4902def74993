import type { Logger } from '@mlx-serving/service-kit';
import type { DecisionTotals, FlagStore } from '../store/flag-store.ts';

const FLUSH_MS = 1_000;

export interface DecisionCounterOptions {
  readonly store: Pick<FlagStore, 'addDecisions'>;
  readonly logger: Logger;
  /** Only these names are counted, so that neither metrics nor Redis grow without bound. */
  readonly isKnown: (name: string) => boolean;
  readonly onCounted: (name: string, totals: DecisionTotals) => void;
}

/** Counts decisions in memory and adds them to the store once a second (SPEC F17); a crash loses one second. */
export class DecisionCounter {
  readonly #options: DecisionCounterOptions;
  #waiting = new Map<string, DecisionTotals>();
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
  }

  add(name: string, totals: DecisionTotals): void {
    if (!this.#options.isKnown(name)) return;
    this.#keep(name, totals);
    this.#options.onCounted(name, totals);
  }

  /** Decisions that the store does not know of yet. */
  waitingOf(name: string): DecisionTotals {
    return this.#waiting.get(name) ?? { enabled: 0n, disabled: 0n };
  }

  /** Adds what waits to the store; what it does not take waits on. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#flushOnce());
    return this.#flushing;
  }

  async #flushOnce(): Promise<void> {
    if (this.#waiting.size === 0) return;
    const batch = this.#waiting;
    this.#waiting = new Map();
    try {
      await this.#options.store.addDecisions(batch);
    } catch (error) {
      for (const [name, totals] of batch) this.#keep(name, totals);
      this.#options.logger.debug({ problem: error instanceof Error ? error.message : String(error) }, 'decision counts wait for the store');
    }
  }

  #keep(name: string, { enabled, disabled }: DecisionTotals): void {
    const before = this.waitingOf(name);
    this.#waiting.set(name, { enabled: before.enabled + enabled, disabled: before.disabled + disabled });
  }
}
