/**
 * Bytes that one stream may bring before it waits for the next turn of the event loop: about half a millisecond of work.
 * Node reads up to 2 MiB from one connection in one turn, and a stream that comes as fast as it can had all of it.
 */
export const TURN_BYTES = 32 * 1024;

/** Makes one stream step aside for a turn of the event loop after every TURN_BYTES, so that the others have theirs. */
export class TurnShare {
  readonly #stop: () => void;
  readonly #goOn: () => void;
  #bytes = 0;
  #aside = false;

  /** @param goOn called in the next turn */
  constructor(stop: () => void, goOn: () => void) {
    this.#stop = stop;
    this.#goOn = goOn;
  }

  /** Whether the stream waits for the next turn. */
  get aside(): boolean {
    return this.#aside;
  }

  /** Counts what has come. */
  took(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < TURN_BYTES || this.#aside) return;
    this.#bytes = 0;
    this.#aside = true;
    this.#stop();
    setImmediate(() => {
      this.#aside = false;
      this.#goOn();
    });
  }
}
