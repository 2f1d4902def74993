/** What this package uses of npm `tdigest` 0.1.3, which ships without types. */
declare module 'tdigest' {
  export interface Centroid {
    readonly mean: number;
    /** How many samples it stands for. */
    readonly n: number;
  }

  export interface CumulatedCentroid extends Centroid {
    /** Samples up to and including this centroid. */
    readonly cumn: number;
  }

  export class TDigest {
    /**
     * @param delta greatest share of the samples that one centroid may own. Default: 0.01.
     * @param K compresses when there are more than K / delta centroids. Default: 25.
     */
    constructor(delta?: number, K?: number);
    readonly n: number;
    push(value: number, count?: number): void;
    push_centroid(centroids: readonly Centroid[]): void;
    /** @param p 0 to 1. Undefined when there is no sample. */
    percentile(p: number): number | undefined;
    toArray(): Centroid[];
    toArray(everything: true): CumulatedCentroid[];
    compress(): void;
    size(): number;
  }

  const library: { TDigest: typeof TDigest };
  // The package is CommonJS, so Node gives all of it as the default import.
  // eslint-disable-next-line no-restricted-syntax
  export default library;
}
