import type { Flow } from './generation-types.ts';

/** What happens when the client reads nothing for a time. */
export interface WriteStall {
  readonly afterMs: number;
  readonly onStall: () => void;
}

/** Holds the workers back while a client does not read its answers, and says when that has taken too long. */
export class BackPressure {
  readonly #stall: WriteStall | undefined;
  readonly #flows = new Map<number, Flow>();
  #timer: NodeJS.Timeout | undefined;
  #held = false;

  constructor(stall?: WriteStall) {
    this.#stall = stall;
  }

  /** Tokens of an answer have come by this flow. */
  follow(choice: number, flow: Flow): void {
    if (this.#flows.get(choice) === flow) return;
    this.#flows.set(choice, flow);
    if (this.#held) flow.pause();
  }

  ended(choice: number): void {
    this.#flows.delete(choice);
  }

  /** Call it when a write says that the client does not keep up. */
  hold(client: { once(event: 'drain', listener: () => void): unknown }): void {
    if (this.#held) return;
    this.#held = true;
    for (const flow of this.#flows.values()) flow.pause();
    if (this.#stall) this.#timer = setTimeout(this.#stall.onStall, this.#stall.afterMs);
    client.once('drain', () => {
      clearTimeout(this.#timer);
      this.#held = false;
      for (const flow of this.#flows.values()) flow.resume();
    });
  }

  release(): void {
    clearTimeout(this.#timer);
  }
}
