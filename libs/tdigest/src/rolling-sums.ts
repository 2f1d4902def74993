import { SlotRing, type WindowOptions } from './slot-ring.ts';

/** Sums over the last `windowMs`, one for each name of a fixed set. */
export class RollingSums<K extends string> {
  readonly #ring: SlotRing<Record<K, number>>;
  readonly #names: readonly K[];

  constructor(names: readonly K[], options: WindowOptions) {
    this.#names = names;
    this.#ring = new SlotRing(options, () => this.#zeros());
  }

  add(name: K, amount = 1): void {
    const current = this.#ring.current();
    current[name] += amount;
  }

  /** Every sum over the window. */
  read(): Record<K, number> {
    const total = this.#zeros();
    for (const slot of this.#ring.all()) for (const name of this.#names) total[name] += slot[name];
    return total;
  }

  #zeros(): Record<K, number> {
    return Object.fromEntries(this.#names.map((name) => [name, 0])) as Record<K, number>;
  }
}
