/** The quantile of samples by linear interpolation. @param share 0 to 1 @throws Error without samples */
export function quantile(samples: readonly number[], share: number): number {
  if (samples.length === 0) throw new Error('There is no sample.');
  const sorted = [...samples].sort((a, b) => a - b);
  const position = (sorted.length - 1) * share;
  const [below, above] = [sorted[Math.floor(position)] ?? 0, sorted[Math.ceil(position)] ?? 0];
  return below + (above - below) * (position - Math.floor(position));
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

/** Lower and upper quartile: where the middle half of the samples lies. */
export interface Spread {
  readonly low: number;
  readonly high: number;
}

export function spread(samples: readonly number[]): Spread {
  return { low: quantile(samples, 0.25), high: quantile(samples, 0.75) };
}

/**
 * The median of the ratios within pairs. Each pair was measured side by side, so what the machine did besides cancels out.
 * @throws Error when the lists differ in length
 */
export function pairedRatio(ours: readonly number[], peers: readonly number[]): number {
  if (ours.length !== peers.length) throw new Error('Every measurement needs its pair.');
  return median(ours.map((value, index) => value / (peers[index] ?? Number.NaN)));
}
