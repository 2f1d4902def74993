/** The least time between two verdicts that reports ask for, in milliseconds: small beside the 250 ms in which a rollback must be everywhere. */
const APART_MS = 50;

/** Judges at once when it has not for a while, else once for all reports of the next moment: a verdict costs more than a report. */
export class SoonVerdict {
  readonly #judge: () => void;
  readonly #now: () => number;
  #lastAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** @param now the clock in milliseconds */
  constructor(judge: () => void, now: () => number) {
    this.#judge = judge;
    this.#now = now;
  }

  /** Reports have come. */
  ask(): void {
    if (this.#timer) return;
    const left = this.#lastAt + APART_MS - this.#now();
    if (left <= 0) this.#act();
    else this.#timer = setTimeout(() => this.#act(), left);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #act(): void {
    this.#timer = undefined;
    this.#lastAt = this.#now();
    this.#judge();
  }
}
