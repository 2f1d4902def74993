export interface RetrySettings {
  /** Retries for each request: 0.2 allows one for every five. */
  readonly share: number;
  /** Retries that may be saved up, and that there are at the start. */
  readonly burst: number;
}

/** A bucket that requests fill and retries empty, so that retries cannot multiply an overload. */
export class RetryBudget {
  readonly #settings: () => RetrySettings;
  #tokens: number;

  constructor(settings: () => RetrySettings) {
    this.#settings = settings;
    this.#tokens = settings().burst;
  }

  get left(): number {
    return this.#tokens;
  }

  onRequest(): void {
    const { share, burst } = this.#settings();
    this.#tokens = Math.min(burst, this.#tokens + share);
  }

  /** @returns false when there is none left */
  take(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
