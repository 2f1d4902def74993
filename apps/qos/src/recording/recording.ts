import type { RequestSample } from '@mlx-serving/policy';

/** A sample and when it was heard of. */
export interface RecordedSample extends RequestSample {
  /** Unix time in milliseconds. */
  readonly atMs: number;
}

/** Most samples that are kept. */
export const MOST_RECORDED = 20_000;

/** The requests of late, for dry runs and replays. A ring, so that taking one in costs the same at any time. */
export class Recording {
  readonly #ring: RecordedSample[] = [];
  #next = 0;

  add(sample: RecordedSample): void {
    this.#ring[this.#next] = sample;
    this.#next = (this.#next + 1) % MOST_RECORDED;
  }

  /** The latest ones, oldest first. */
  latest(limit = MOST_RECORDED): RecordedSample[] {
    const ordered = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
    return ordered.slice(-Math.max(1, limit));
  }
}
