// The reference is kept in the published types, so that they stand alone.
// eslint-disable-next-line @typescript-eslint/triple-slash-reference
/// <reference path="../types/tdigest.d.ts" preserve="true" />
import tdigest, { type Centroid, type CumulatedCentroid, type TDigest } from 'tdigest';
import { MAX_SAMPLE } from './digest.ts';

/** Centroids before the digest compresses, in multiples of the compression. */
const GROWTH = 10;

/**
 * The t-digest of npm `tdigest`, for what is summed up once: the rank of an answer is off by at most about `1 / compression`, and
 * its value by some hundredths of a percent; with few samples it is exact (nearest rank). A push takes some ten times as long as
 * Digest's and every so often milliseconds, so it has no place on the way of requests. The same samples give the same answers.
 */
export class FineDigest {
  readonly #compression: number;
  #digest: TDigest;
  #seed = 1;
  #rejected = 0;

  /** @param compression 20 to 1000: more is more exact and larger. Default: 100. */
  constructor(compression = 100) {
    if (!(compression >= 20 && compression <= 1000)) throw new RangeError(`compression must be 20 to 1000, not ${compression}`);
    this.#compression = compression;
    this.#digest = this.#empty();
  }

  /** Samples that were taken. */
  get count(): number {
    return this.#digest.n;
  }

  /** How much it keeps: at most ten times the compression, and one. */
  get centroids(): number {
    return this.#digest.size();
  }

  /** Samples that were refused. */
  get rejected(): number {
    return this.#rejected;
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
    this.#digest.push(value);
    if (this.centroids > this.#compression * GROWTH) this.#compress();
    return true;
  }

  /** Takes in all samples of another digest, which stays as it is. */
  merge(other: FineDigest): void {
    if (other.count > 0) this.#digest.push_centroid(this.#shuffled(other.#digest.toArray()));
    if (this.centroids > this.#compression * GROWTH) this.#compress();
    this.#rejected += other.rejected;
  }

  /**
   * @param p 0 to 100
   * @returns undefined when there is no sample
   * @throws RangeError when p is out of range
   */
  percentile(p: number): number | undefined {
    if (!(p >= 0 && p <= 100)) throw new RangeError(`a percentile is 0 to 100, not ${p}`);
    if (this.count === 0) return undefined;
    const centroids = this.#digest.toArray(true);
    const rank = Math.max((p / 100) * this.count, Number.MIN_VALUE);
    const own = centroids.find((centroid) => centroid.cumn >= rank) ?? centroids.at(-1);
    return own && this.#isOneValue(own) ? own.mean : this.#digest.percentile(p / 100);
  }

  /**
   * True for a single sample and for a heap of equal ones, which the library gathers without limit. Interpolating
   * between such a heap and its neighbour would answer values that were never seen, ranks away from the right one.
   */
  #isOneValue(centroid: CumulatedCentroid): boolean {
    const quantile = (centroid.cumn - centroid.n / 2) / this.count;
    return centroid.n === 1 || centroid.n > (4 * this.count * quantile * (1 - quantile)) / this.#compression;
  }

  #empty(): TDigest {
    // 0: the library never compresses by itself. It would draw the order from Math.random.
    return new tdigest.TDigest(1 / this.#compression, 0);
  }

  #compress(): void {
    const centroids = this.#shuffled(this.#digest.toArray());
    this.#digest = this.#empty();
    this.#digest.push_centroid(centroids);
  }

  /** In an order that looks like chance, and is the same every time. */
  #shuffled(centroids: Centroid[]): Centroid[] {
    for (let at = centroids.length - 1; at > 0; at--) {
      this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
      const other = Math.floor((this.#seed / 2 ** 32) * (at + 1));
      [centroids[at], centroids[other]] = [centroids[other] as Centroid, centroids[at] as Centroid];
    }
    return centroids;
  }
}
