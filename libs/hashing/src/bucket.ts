import { hash32 } from './md5-word.ts';

/** How many places a key can fall into: a percentage has steps of 0.001. */
export const FINE_BUCKETS = 100_000;

/**
 * The fine bucket of a text, 0 to 99999 (SPEC F2). Integer percentages answer as `hash % 100 < percentage` does.
 */
export function bucket(text: string): number {
  const hash = hash32(text);
  return (hash % 100) * 1000 + (Math.floor(hash / 100) % 1000);
}

/** The fine bucket of a key for a flag that has a seed of its own. */
export function bucketByKey(key: string, seed: string): number {
  return bucket(`${key}:${seed}`);
}

/** The fine bucket of a key for a flag without a seed. */
export function bucketByFlag(flag: string, key: string): number {
  return bucket(`${flag}:${key}`);
}

/** Whether a fine bucket lies within a percentage, 0 to 100. Raising the percentage never puts a bucket out. */
export function isInRollout(fine: number, percentage: number): boolean {
  return fine < Math.round(percentage * 1000);
}
