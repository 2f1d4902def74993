/** More keys than this are not held at one time. */
const MOST_KEYS = 1_000;

/** Values that are lent by key, each for as long as its lease runs. A lease that is not renewed ends by itself (SPEC Q3). */
export class LentValues<K, V> {
  readonly #values = new Map<K, { value: V; expiry: NodeJS.Timeout }>();
  readonly #onChange: (key: K, value: V | undefined) => void;

  /** @param onChange called with undefined when a lease has ended */
  constructor(onChange: (key: K, value: V | undefined) => void = () => undefined) {
    this.#onChange = onChange;
  }

  get(key: K): V | undefined {
    return this.#values.get(key)?.value;
  }

  get keys(): readonly K[] {
    return [...this.#values.keys()];
  }

  /** @returns false when too much is lent already */
  lend(key: K, value: V, ttlMs: number): boolean {
    const held = this.#values.get(key);
    if (!held && this.#values.size >= MOST_KEYS) return false;
    clearTimeout(held?.expiry);
    this.#values.set(key, { value, expiry: setTimeout(() => this.#end(key), ttlMs).unref() });
    this.#onChange(key, value);
    return true;
  }

  /** Ends a lease before its time. */
  end(key: K): void {
    if (!this.#values.has(key)) return;
    clearTimeout(this.#values.get(key)?.expiry);
    this.#end(key);
  }

  stop(): void {
    for (const { expiry } of this.#values.values()) clearTimeout(expiry);
    this.#values.clear();
  }

  #end(key: K): void {
    this.#values.delete(key);
    this.#onChange(key, undefined);
  }
}
