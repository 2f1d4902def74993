import { Digest } from './digest.ts';
import { SlotRing, type WindowOptions } from './slot-ring.ts';

export interface RollingDigestOptions extends WindowOptions {
  /** As Digest's. Default: 100. */
  readonly compression?: number;
}

/** Percentiles over the last `windowMs`: a ring of digests, merged when it is read. The merge of closed parts is kept. */
export class RollingDigest {
  readonly #compression: number | undefined;
  readonly #ring: SlotRing<Digest>;
  #closed: Digest | undefined;
  #merged: Digest | undefined;
  #rejected = 0;

  constructor(options: RollingDigestOptions) {
    this.#compression = options.compression;
    this.#ring = new SlotRing(options, () => this.#empty(), () => this.#forget());
    this.#empty();
  }

  /** Samples in the window. */
  get count(): number {
    return this.#ring.all().reduce((sum, digest) => sum + digest.count, 0);
  }

  /** Samples that were refused since the start. */
  get rejected(): number {
    return this.#rejected;
  }

  /** @returns false when the value was refused, as by Digest */
  push(value: number): boolean {
    const taken = this.#ring.current().push(value);
    if (taken) this.#merged = undefined;
    else this.#rejected++;
    return taken;
  }

  /**
   * @param p 0 to 100
   * @returns undefined when the window has no sample
   * @throws RangeError when p is out of range
   */
  percentile(p: number): number | undefined {
    const current = this.#ring.current();
    this.#closed ??= this.#merge(this.#ring.closed());
    this.#merged ??= this.#merge([this.#closed, current]);
    return this.#merged.percentile(p);
  }

  #merge(digests: readonly Digest[]): Digest {
    const merged = this.#empty();
    for (const digest of digests) merged.merge(digest);
    return merged;
  }

  #empty(): Digest {
    return new Digest(this.#compression);
  }

  #forget(): void {
    this.#closed = undefined;
    this.#merged = undefined;
  }
}
