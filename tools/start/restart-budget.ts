/** How often a service may be started again before everything is stopped. */
const LIMIT = 5;
const WINDOW_MS = 60_000;
const FIRST_DELAY_MS = 100;

/** Says after which delay a service that ended may be started again, or that it may not. */
export class RestartBudget {
  readonly #ends: number[] = [];

  /**
   * @param now in milliseconds
   * @returns the delay in milliseconds, doubling with each end within a minute; null when the budget is spent
   */
  next(now: number): number | null {
    while (this.#ends[0] !== undefined && now - this.#ends[0] >= WINDOW_MS) this.#ends.shift();
    if (this.#ends.length >= LIMIT) return null;
    this.#ends.push(now);
    return FIRST_DELAY_MS * 2 ** (this.#ends.length - 1);
  }

  /** Which restart of the window this is, from 1. */
  get used(): number {
    return this.#ends.length;
  }

  readonly limit = LIMIT;
}
