export interface CircuitSettings {
  /** So many failures in a row open the circuit. */
  readonly open_after_failures: number;
  /** How long it stays open at first; twice as long each time that the trial after it fails. */
  readonly open_ms: number;
  readonly longest_open_ms: number;
}

export type CircuitState = 'closed' | 'open' | 'half-open';

/** Keeps work away from a worker that fails. When its time is over one request goes as a trial, and decides. */
export class CircuitBreaker {
  readonly #settings: () => CircuitSettings;
  readonly #now: () => number;
  #failures = 0;
  /** How often it has opened since it was last closed. */
  #opened = 0;
  #openUntil = 0;
  #onTrial = false;

  constructor(settings: () => CircuitSettings, now: () => number = () => performance.now()) {
    this.#settings = settings;
    this.#now = now;
  }

  get state(): CircuitState {
    if (this.#opened === 0) return 'closed';
    return this.#now() < this.#openUntil ? 'open' : 'half-open';
  }

  /** Whether a request may go now. */
  get allows(): boolean {
    return this.#opened === 0 || (this.#now() >= this.#openUntil && !this.#onTrial);
  }

  /** A request goes. Exactly one of `succeeded`, `failed` and `abandoned` must follow. */
  begin(): void {
    if (this.state === 'half-open') this.#onTrial = true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#opened = 0;
    this.#onTrial = false;
  }

  failed(): void {
    this.#failures++;
    const isTrial = this.#onTrial;
    this.#onTrial = false;
    if (isTrial || (this.#opened === 0 && this.#failures >= this.#settings().open_after_failures)) this.open();
  }

  /** The request ended without telling anything of the worker: its client went away, say. */
  abandoned(): void {
    this.#onTrial = false;
  }

  open(): void {
    const { open_ms, longest_open_ms } = this.#settings();
    this.#openUntil = this.#now() + Math.min(longest_open_ms, open_ms * 2 ** Math.min(this.#opened, 20));
    this.#opened++;
  }
}
