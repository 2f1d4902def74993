/** Which worker has which prefixes in its cache, as far as this gateway knows: it sent them there. Bounded, least recently used out. */
export class PrefixOwners<T> {
  readonly #owners = new Map<number, T>();
  readonly #most: () => number;

  constructor(most: () => number) {
    this.#most = most;
  }

  get size(): number {
    return this.#owners.size;
  }

  /** The owner of the longest prefix that is known. @param keys the shortest prefix first */
  find(keys: readonly number[], isUsable: (owner: T) => boolean): T | undefined {
    for (let at = keys.length - 1; at >= 0; at--) {
      const owner = this.#owners.get(keys[at] as number);
      if (owner !== undefined && isUsable(owner)) return owner;
    }
    return undefined;
  }

  /** Gives the prefixes that nobody usable has to a worker; the others stay where they are, and count as used. */
  claim(keys: readonly number[], worker: T, isUsable: (owner: T) => boolean): void {
    for (const key of keys) {
      const owner = this.#owners.get(key);
      this.#owners.delete(key);
      this.#owners.set(key, owner !== undefined && isUsable(owner) ? owner : worker);
    }
    const most = this.#most();
    for (const key of this.#owners.keys()) {
      if (this.#owners.size <= most) return;
      this.#owners.delete(key);
    }
  }

  forget(worker: T): void {
    for (const [key, owner] of this.#owners) if (owner === worker) this.#owners.delete(key);
  }
}
