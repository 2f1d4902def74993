/** How long a block of time is, in milliseconds. */
export const DEFAULT_BLOCK_MS = 5_000;
/** Spells are often longer than a block, so that blocks beside each other tell of the same. Then so many make a long one. */
const LONG = 6;
/** Long blocks from which on they are asked as well. */
const LEAST_LONG = 4;

/** Sums over the blocks up to now, one of each kind for each series. */
export interface KeptSteadiness {
  readonly blocks: number;
  readonly sums: readonly number[];
  readonly squares: readonly number[];
  readonly present: readonly number[];
  /** Of the block before; absent of what an older version kept. */
  readonly last?: readonly number[];
}

export interface KeptScales {
  readonly short: KeptSteadiness;
  readonly long: KeptSteadiness;
}

/**
 * Whether the canary is worse again and again, or was so in one spell.
 *
 * Requests are drawn at random, so what slows both variants alike, for however long, cannot deceive the test of SPEC 6.
 * What slows one process alone can: another program on its core, a page fault, a collection of garbage. To the test each
 * request is a witness of its own, but the requests of one spell all tell of the same. So the excess of events is summed
 * over blocks of time, and must be large beside the root of the squares of these sums: one spell, however bad, gives 1, and
 * k blocks alike give the root of k. The bound grows with the blocks, as one looks again and again.
 */
export class Steadiness {
  readonly #short: Blocks;
  readonly #long: Blocks;

  /** @param share the canary's, above 0 and below 1 */
  constructor(series: number, share: number, blockMs = DEFAULT_BLOCK_MS, kept?: KeptScales) {
    this.#short = new Blocks(series, share, blockMs, kept?.short);
    this.#long = new Blocks(series, share, blockMs * LONG, kept?.long);
  }

  /** Time goes on. Without it nothing is asked of blocks. A clock that is set back begins a block as well. */
  turn(atMs: number): void {
    this.#short.turn(atMs);
    this.#long.turn(atMs);
  }

  /** Takes in an event. */
  add(series: number, canary: boolean): void {
    this.#short.add(series, canary);
    this.#long.add(series, canary);
  }

  isSteady(series: number): boolean {
    return this.#short.isSteady(series) && (this.#long.count < LEAST_LONG || this.#long.isSteady(series));
  }

  /** The excess of the present block and the one before. */
  recent(series: number): number {
    return this.#short.recent(series);
  }

  keep(): KeptScales {
    return { short: this.#short.keep(), long: this.#long.keep() };
  }
}

/** Blocks of one length. */
class Blocks {
  readonly #blockMs: number;
  /** What an event of the baseline counts, so that the excess is 0 in the mean while the variants are alike. */
  readonly #baselineWeight: number;
  readonly #sums: Float64Array;
  readonly #squares: Float64Array;
  readonly #present: Float64Array;
  readonly #last: Float64Array;
  #blocks: number;
  #since: number | undefined;

  constructor(series: number, share: number, blockMs: number, kept?: KeptSteadiness) {
    this.#blockMs = blockMs;
    this.#baselineWeight = share / (1 - share);
    this.#blocks = kept?.blocks ?? 0;
    this.#sums = Float64Array.from(kept?.sums ?? new Array<number>(series).fill(0));
    this.#squares = Float64Array.from(kept?.squares ?? new Array<number>(series).fill(0));
    this.#present = Float64Array.from(kept?.present ?? new Array<number>(series).fill(0));
    this.#last = Float64Array.from(kept?.last ?? new Array<number>(series).fill(0));
  }

  get count(): number {
    return this.#blocks;
  }

  turn(atMs: number): void {
    if (this.#since === undefined) {
      this.#since = atMs;
      this.#blocks = Math.max(1, this.#blocks);
    } else if (atMs - this.#since >= this.#blockMs || atMs < this.#since) {
      this.#since = atMs;
      this.#endBlock();
    }
  }

  add(series: number, canary: boolean): void {
    this.#present[series] = (this.#present[series] ?? 0) + (canary ? 1 : -this.#baselineWeight);
  }

  isSteady(series: number): boolean {
    if (this.#blocks === 0) return true;
    const present = this.#present[series] ?? 0;
    const sum = (this.#sums[series] ?? 0) + present;
    const squares = (this.#squares[series] ?? 0) + present * present;
    return sum > 0 && sum >= leastRatio(this.#blocks) * Math.sqrt(squares);
  }

  recent(series: number): number {
    return (this.#present[series] ?? 0) + (this.#last[series] ?? 0);
  }

  keep(): KeptSteadiness {
    return { blocks: this.#blocks, sums: [...this.#sums], squares: [...this.#squares], present: [...this.#present], last: [...this.#last] };
  }

  #endBlock(): void {
    this.#blocks++;
    for (let series = 0; series < this.#present.length; series++) {
      const present = this.#present[series] ?? 0;
      this.#sums[series] = (this.#sums[series] ?? 0) + present;
      this.#squares[series] = (this.#squares[series] ?? 0) + present * present;
      this.#last[series] = present;
      this.#present[series] = 0;
    }
  }
}

/** Beyond what one or two blocks can reach; 2.1 at ten blocks, 3.8 at an hour of short ones. */
function leastRatio(blocks: number): number {
  return 1.2 + 0.4 * Math.log(Math.max(2, blocks));
}
