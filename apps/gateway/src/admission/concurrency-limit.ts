import type { Governor, LimitLease } from './governor.ts';

/**
 * The governor with a fixed limit. How many requests may be at the workers at one time: the setting of runtime.yaml,
 * or what qos lends, for as long as the lease runs. A lease that is not renewed ends by itself (SPEC Q3).
 */
export class ConcurrencyLimit implements Governor {
  readonly #onChange: (value: number) => void;
  #setting: number;
  #lent: number | undefined;
  #expiry: NodeJS.Timeout | undefined;

  constructor(setting: number, onChange: (value: number) => void) {
    this.#setting = setting;
    this.#onChange = onChange;
  }

  /** At least 1, so that no lease can stop a gateway altogether. */
  get value(): number {
    return Math.max(1, this.#lent ?? this.#setting);
  }

  limit(): number {
    return this.value;
  }

  onSample(): void {
    // A fixed limit learns nothing.
  }

  configure(setting: number): void {
    this.#setting = setting;
    this.#onChange(this.value);
  }

  lend({ limit, ttlMs }: LimitLease): void {
    clearTimeout(this.#expiry);
    this.#lent = limit;
    this.#expiry = setTimeout(() => this.#end(), ttlMs).unref();
    this.#onChange(this.value);
  }

  stop(): void {
    clearTimeout(this.#expiry);
  }

  #end(): void {
    this.#lent = undefined;
    this.#onChange(this.value);
  }
}
