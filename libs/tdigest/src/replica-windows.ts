import { Digest, type KeptDigest } from './digest.ts';

/** What one replica saw in one window. The greater version of it replaces the smaller, as it grows until the window ends. */
export interface KeptWindow {
  readonly replica: string;
  /** Start of the window in milliseconds. */
  readonly window: number;
  readonly version: number;
  readonly digest: KeptDigest;
}

/** Windows of many replicas put together. Saying a thing twice, late or in another order changes nothing (SPEC Q1). */
export class ReplicaWindows {
  readonly #compression: number;
  readonly #windows = new Map<string, KeptWindow>();

  /** @param compression as Digest's. Default: 100. */
  constructor(compression = 100) {
    this.#compression = compression;
  }

  /**
   * @returns false for one that is known, or older than the known one
   * @throws RangeError when its digest is none, or of another compression; then nothing changes
   */
  put(kept: KeptWindow): boolean {
    const key = `${kept.window} ${kept.replica}`;
    if ((this.#windows.get(key)?.version ?? Number.NEGATIVE_INFINITY) >= kept.version) return false;
    new Digest(this.#compression).mergeKept(kept.digest);
    this.#windows.set(key, kept);
    return true;
  }

  /** Forgets the windows that started before. */
  forget(before: number): void {
    for (const [key, { window }] of this.#windows) if (window < before) this.#windows.delete(key);
  }

  get size(): number {
    return this.#windows.size;
  }

  /** All windows from a start on, together. */
  merged(from = Number.NEGATIVE_INFINITY): Digest {
    const merged = new Digest(this.#compression);
    for (const { window, digest } of this.#windows.values()) if (window >= from) merged.mergeKept(digest);
    return merged;
  }
}
