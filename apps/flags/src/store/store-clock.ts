/** Readings that are kept: the best of them counts, so that one slow answer does no harm. */
const KEPT = 3;

/** Redis's clock as it is known here: never ahead of it, behind by no more than an answer took. */
export class StoreClock {
  readonly #offsets: number[] = [];
  readonly #now: () => number;

  /** @param now a clock of this process that only goes forward, in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Takes in a time of Redis, Unix time in milliseconds, that has just come. */
  note(storeMs: number): void {
    this.#offsets.push(storeMs - this.#now());
    if (this.#offsets.length > KEPT) this.#offsets.shift();
  }

  /** What Redis's clock says in so many milliseconds, or a little less; undefined before the first reading. */
  inMs(milliseconds: number): number | undefined {
    return this.#offsets.length === 0 ? undefined : Math.floor(this.#now() + Math.max(...this.#offsets) + milliseconds);
  }
}
