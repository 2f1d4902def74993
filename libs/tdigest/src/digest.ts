/** Greatest sample that is taken. Beyond it sums could lose whole units. */
export const MAX_SAMPLE = Number.MAX_SAFE_INTEGER;

/** Samples below this share one bin: 2^-20, about a millionth. */
const LEAST_EXPONENT = -20;
const BIAS = 1023;
const MANTISSA_BITS = 20;

const word = new Float64Array(1);
const halves = new Uint32Array(word.buffer);
word[0] = 1;
/** Which half of a double holds the exponent, on this machine. */
const HIGH = halves[1] === 0 ? 0 : 1;

/** What a digest holds, as plain numbers: for JSON and for other processes. */
export interface KeptDigest {
  readonly bits: number;
  readonly least: number;
  readonly greatest: number;
  /** Bin, count and sum of each bin that is not empty, one after the other. */
  readonly bins: readonly number[];
}

/**
 * Percentiles of a stream of samples: a histogram whose bins are equal parts of each power of two. A push is an index and two
 * additions, whatever came before; merging adds bins, so it loses nothing and no order matters (docs/adr/0010).
 * An answer is off by at most `1 / (2.56 * compression)` of itself, 0.4 % by default; a bin that holds one value answers it exactly.
 */
export class Digest {
  readonly #bits: number;
  /** The bin that `#counts[0]` stands for. */
  #offset = 0;
  #counts = new Float64Array(0);
  #sums = new Float64Array(0);
  #count = 0;
  #least = Number.POSITIVE_INFINITY;
  #greatest = 0;
  #rejected = 0;

  /** @param compression 20 to 1000: more is more exact and larger. Default: 100. */
  constructor(compression = 100) {
    if (!(compression >= 20 && compression <= 1000)) throw new RangeError(`compression must be 20 to 1000, not ${compression}`);
    this.#bits = Math.ceil(Math.log2(compression * 2.56));
  }

  /** Samples that were taken. */
  get count(): number {
    return this.#count;
  }

  /** Samples that were refused. */
  get rejected(): number {
    return this.#rejected;
  }

  /** How much it keeps: at most `73 * 2^bits` bins, 18 689 by default, and in practice what the samples span. */
  get bins(): number {
    return this.#counts.length;
  }

  /**
   * Takes a sample of at least 0 and at most MAX_SAMPLE.
   * @returns false when the value is anything else; then nothing changes but `rejected`
   */
  push(value: number): boolean {
    if (typeof value !== 'number' || !(value >= 0 && value <= MAX_SAMPLE)) {
      this.#rejected++;
      return false;
    }
    // A negative zero would carry its sign into the bin.
    word[0] = value + 0;
    const bin = Math.max(0, ((halves[HIGH] as number) >>> (MANTISSA_BITS - this.#bits)) - ((BIAS + LEAST_EXPONENT) << this.#bits) + 1);
    let at = bin - this.#offset;
    if (at < 0 || at >= this.#counts.length) {
      this.#cover(bin, bin);
      at = bin - this.#offset;
    }
    (this.#counts[at] as number)++;
    (this.#sums[at] as number) += value;
    this.#count++;
    if (value < this.#least) this.#least = value;
    if (value > this.#greatest) this.#greatest = value;
    return true;
  }

  /** Takes in all samples of another digest, which stays as it is. @throws RangeError when it has another compression */
  merge(other: Digest): void {
    this.#rejected += other.rejected;
    if (other.count === 0) return;
    if (other.#bits !== this.#bits) throw new RangeError('digests of different compression cannot be merged');
    this.#cover(other.#offset, other.#offset + other.#counts.length - 1);
    const shift = other.#offset - this.#offset;
    for (let at = 0; at < other.#counts.length; at++) {
      (this.#counts[at + shift] as number) += other.#counts[at] as number;
      (this.#sums[at + shift] as number) += other.#sums[at] as number;
    }
    this.#count += other.#count;
    this.#least = Math.min(this.#least, other.#least);
    this.#greatest = Math.max(this.#greatest, other.#greatest);
  }

  /**
   * The nearest rank.
   * @param p 0 to 100
   * @returns undefined when there is no sample
   * @throws RangeError when p is out of range
   */
  percentile(p: number): number | undefined {
    if (!(p >= 0 && p <= 100)) throw new RangeError(`a percentile is 0 to 100, not ${p}`);
    if (this.#count === 0) return undefined;
    // The thinnest sliver is taken off, so that 7 % of 100 is the seventh and not, by rounding, the eighth.
    const rank = Math.max(1, Math.ceil((p / 100) * this.#count - 1e-9));
    if (rank <= 1) return this.#least;
    if (rank >= this.#count) return this.#greatest;
    let seen = 0;
    for (let at = 0; at < this.#counts.length; at++) {
      const count = this.#counts[at] as number;
      seen += count;
      if (seen >= rank) return Math.min(this.#greatest, Math.max(this.#least, (this.#sums[at] as number) / count));
    }
    return this.#greatest;
  }

  /** Share of the samples above a value, to the nearest bin; 0 without a sample. */
  shareAbove(value: number): number {
    if (this.#count === 0) return 0;
    let above = 0;
    for (let at = this.#counts.length - 1; at >= 0; at--) {
      const count = this.#counts[at] as number;
      if (count === 0) continue;
      if ((this.#sums[at] as number) / count <= value) break;
      above += count;
    }
    return above / this.#count;
  }

  keep(): KeptDigest {
    const bins: number[] = [];
    this.#counts.forEach((count, at) => {
      if (count > 0) bins.push(at + this.#offset, count, this.#sums[at] as number);
    });
    return { bits: this.#bits, least: this.#count === 0 ? 0 : this.#least, greatest: this.#greatest, bins };
  }

  /** Takes in what `keep` gave. @throws RangeError when it is of another compression, or no digest */
  mergeKept({ bits, least, greatest, bins }: KeptDigest): void {
    if (bits !== this.#bits || bins.length % 3 !== 0) throw new RangeError('not a digest of this compression');
    if (bins.length === 0) return;
    for (let at = 0; at < bins.length; at += 3) {
      const [bin = -1, count = 0, sum = -1] = bins.slice(at, at + 3);
      if (!isBin(bin, 73 * 2 ** bits) || !(count > 0 && sum >= 0)) throw new RangeError('not a digest');
      this.#cover(bin, bin);
      (this.#counts[bin - this.#offset] as number) += count;
      (this.#sums[bin - this.#offset] as number) += sum;
      this.#count += count;
    }
    this.#least = Math.min(this.#least, least);
    this.#greatest = Math.max(this.#greatest, greatest);
  }

  /** Grows so that the bins from `first` to `last` are there, a power of two at a time, so that it grows seldom. */
  #cover(first: number, last: number): void {
    const length = this.#counts.length;
    if (length > 0 && first >= this.#offset && last < this.#offset + length) return;
    const step = 1 << this.#bits;
    const from = Math.floor((length === 0 ? first : Math.min(first, this.#offset)) / step) * step;
    const to = Math.ceil((Math.max(last, length === 0 ? 0 : this.#offset + length - 1) + 1) / step) * step;
    const counts = new Float64Array(to - from);
    const sums = new Float64Array(to - from);
    counts.set(this.#counts, this.#offset - (length === 0 ? this.#offset : from));
    sums.set(this.#sums, this.#offset - (length === 0 ? this.#offset : from));
    this.#counts = counts;
    this.#sums = sums;
    this.#offset = from;
  }
}

function isBin(bin: number, last: number): boolean {
  return Number.isInteger(bin) && bin >= 0 && bin <= last;
}
