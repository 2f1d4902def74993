/** The memory of one process at one time. */
export interface MemorySample {
  readonly atMs: number;
  readonly megabytes: number;
}

/** MB an hour, with the interval that holds the true slope in 99 of 100 cases. */
export interface MemorySlope {
  readonly slope: number;
  readonly low: number;
  readonly high: number;
}

/** Fewest samples from which a slope is read. */
export const LEAST_MEMORY_SAMPLES = 10;
/** Fewest samples from which a leak is read, five minutes of them when they are 10 s apart, and most that are kept for it. */
export const LEAST_LEAK_SAMPLES = 30;
export const MOST_LEAK_SAMPLES = 120;
const NORMAL_99 = 2.576;
const HOUR_MS = 3_600_000;

/**
 * The Theil–Sen slope: the median of the slopes between all pairs, which single jumps do not move, with its interval
 * by Kendall's variance. Give it few samples (at most about 120): it looks at every pair.
 * @returns undefined with fewer than LEAST_MEMORY_SAMPLES
 */
export function memorySlope(samples: readonly MemorySample[]): MemorySlope | undefined {
  const count = samples.length;
  if (count < LEAST_MEMORY_SAMPLES) return undefined;
  const slopes: number[] = [];
  samples.forEach((later, index) => {
    for (const earlier of samples.slice(0, index)) {
      if (later.atMs !== earlier.atMs) slopes.push(((later.megabytes - earlier.megabytes) / (later.atMs - earlier.atMs)) * HOUR_MS);
    }
  });
  if (slopes.length === 0) return undefined;
  slopes.sort((a, b) => a - b);
  const half = (NORMAL_99 * Math.sqrt((count * (count - 1) * (2 * count + 5)) / 18)) / 2;
  const at = (rank: number): number => slopes[Math.max(0, Math.min(slopes.length - 1, Math.round(rank)))] ?? 0;
  const middle = (slopes.length - 1) / 2;
  return { slope: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2, low: at(Math.floor(middle - half)), high: at(Math.ceil(middle + half)) };
}
