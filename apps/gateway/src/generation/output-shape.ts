import type { Token } from '@mlx-serving/contracts';

/** Tokens at the end of an answer that are looked at for a loop: at least LEAST_TURNS times the same, of at most LONGEST_TURN. */
const TAIL = 64;
const LONGEST_TURN = 16;
const LEAST_TURNS = 4;
const LEAST_REPEATED = 24;
/** Buckets of gaps, each a quarter of an octave: 0.25 ms to over a minute, so a gap is exact to 9 %. */
const BUCKETS = 72;
const PER_OCTAVE = 4;
const LEAST_GAP_MS = 0.25;

/** What an answer looks like, told from its tokens as they pass: how evenly they came, whether they end in a loop, and a fingerprint. */
export class OutputShape {
  // Plain arrays: typed ones of this size are memory of their own, which costs more to get and to give back than all that is counted here.
  readonly #tail: number[] = [];
  #gaps: number[] | undefined;
  #gapCount = 0;
  #lastAt = 0;
  #count = 0;
  /** Whether there was any text: the token that ends an answer has none. */
  hasText = false;
  /** FNV-1a over the token ids. */
  fingerprint = 0x811c9dc5;

  /** @param nowMs when they came */
  add(tokens: readonly Token[], nowMs: number): void {
    if (this.#count > 0) this.#addGap((nowMs - this.#lastAt) / tokens.length, tokens.length);
    this.#lastAt = nowMs;
    for (const { id, text } of tokens) {
      this.hasText ||= text !== '';
      this.#tail[this.#count++ % TAIL] = id;
      this.fingerprint = Math.imul(this.fingerprint ^ id, 0x01000193);
    }
  }

  /** Milliseconds for each token; undefined with fewer than two arrivals. */
  get gapP95Ms(): number | undefined {
    if (!this.#gaps) return undefined;
    let left = this.#gapCount * 0.05;
    let bucket = BUCKETS - 1;
    for (; bucket > 0 && left >= (this.#gaps[bucket] ?? 0); bucket--) left -= this.#gaps[bucket] ?? 0;
    return LEAST_GAP_MS * 2 ** ((bucket + 0.5) / PER_OCTAVE);
  }

  /** Whether the answer ends with one turn of tokens over and over. */
  get repeats(): boolean {
    const known = Math.min(this.#count, TAIL);
    for (let turn = 1; turn <= LONGEST_TURN; turn++) {
      const needed = Math.max(LEAST_REPEATED, turn * LEAST_TURNS);
      if (needed <= known && this.#repeatsBy(turn, needed)) return true;
    }
    return false;
  }

  #repeatsBy(turn: number, length: number): boolean {
    for (let back = 1; back <= length - turn; back++) if (this.#at(back) !== this.#at(back + turn)) return false;
    return true;
  }

  #at(back: number): number {
    return this.#tail[(this.#count - back) % TAIL] ?? 0;
  }

  #addGap(gapMs: number, tokens: number): void {
    this.#gaps ??= new Array<number>(BUCKETS).fill(0);
    const bucket = Math.max(0, Math.min(BUCKETS - 1, Math.floor(Math.log2(gapMs / LEAST_GAP_MS) * PER_OCTAVE)));
    this.#gaps[bucket] = (this.#gaps[bucket] ?? 0) + tokens;
    this.#gapCount += tokens;
  }
}
