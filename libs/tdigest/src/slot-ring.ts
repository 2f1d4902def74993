export interface WindowOptions {
  /** Length of the window in milliseconds. A sample never counts for longer. */
  readonly windowMs: number;
  /** How many parts the window has; it moves on by one part at a time. Default: 12. */
  readonly slots?: number;
  /** The clock in milliseconds. One that stands still or goes back keeps the present part. */
  readonly now: () => number;
}

interface Slot<T> {
  readonly index: number;
  readonly value: T;
}

/** The parts of a rolling window, oldest first. Parts that nothing was written to do not exist. */
export class SlotRing<T> {
  readonly #slotMs: number;
  readonly #slots: number;
  readonly #now: () => number;
  readonly #create: () => T;
  readonly #onMove: () => void;
  #live: Slot<T>[] = [];
  #latest = Number.NEGATIVE_INFINITY;

  /** @param onMove called whenever a part was closed or has left */
  constructor(options: WindowOptions, create: () => T, onMove: () => void = () => undefined) {
    const { windowMs, slots = 12, now } = options;
    if (!(windowMs > 0 && Number.isFinite(windowMs))) throw new RangeError(`windowMs must be above 0, not ${windowMs}`);
    if (!(Number.isInteger(slots) && slots >= 1)) throw new RangeError(`slots must be a whole number from 1 on, not ${slots}`);
    this.#slotMs = windowMs / slots;
    this.#slots = slots;
    this.#now = now;
    this.#create = create;
    this.#onMove = onMove;
  }

  /** The part that is written to now. */
  current(): T {
    this.#advance();
    const last = this.#live.at(-1);
    if (last?.index === this.#latest) return last.value;
    const value = this.#create();
    this.#live.push({ index: this.#latest, value });
    return value;
  }

  /** The parts that are written no more. */
  closed(): T[] {
    this.#advance();
    return this.#live.filter((slot) => slot.index !== this.#latest).map((slot) => slot.value);
  }

  all(): T[] {
    this.#advance();
    return this.#live.map((slot) => slot.value);
  }

  #advance(): void {
    const index = Math.floor(this.#now() / this.#slotMs);
    if (!(index > this.#latest)) return;
    this.#latest = index;
    this.#live = this.#live.filter((slot) => slot.index > index - this.#slots);
    this.#onMove();
  }
}
