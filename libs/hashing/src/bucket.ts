import { createHash32, hash32 } from './md5-word.ts';

/** How many places a key can fall into: a percentage has steps of 0.001. */
export const FINE_BUCKETS = 100_000;

/**
 * The fine bucket of a text, 0 to 99999 (SPEC F2). Integer percentages answer as `hash % 100 < percentage` does.
 */
export function bucket(text: string): number {
  return fineOf(hash32(text));
}

/** The fine bucket of a key for a flag that has a seed of its own. */
export function bucketByKey(key: string, seed: string): number {
  return bucket(`${key}:${seed}`);
}

/** The fine bucket of a key for a flag without a seed. */
export function bucketByFlag(flag: string, key: string): number {
  return bucket(`${flag}:${key}`);
}

/**
 * Prepares buckets of many keys: `createBucket('', ':seed')(key)` is `bucketByKey(key, 'seed')`,
 * `createBucket('flag:', '')(key)` is `bucketByFlag('flag', key)`. Short ASCII texts are hashed without being joined.
 */
export function createBucket(before: string, after: string): (key: string) => number {
  const hash = createHash32(before, after);
  return (key) => fineOf(hash(key));
}

/** Whether a fine bucket lies within a percentage, 0 to 100. Raising the percentage never puts a bucket out. */
export function isInRollout(fine: number, percentage: number): boolean {
  return fine < rolloutLimit(percentage);
}

/** The first fine bucket that is outside a percentage, 0 to 100000. */
export function rolloutLimit(percentage: number): number {
  return Math.round(percentage * 1000);
}

function fineOf(hash: number): number {
  const hundreds = Math.floor(hash / 100);
  return (hash - hundreds * 100) * 1000 + (hundreds % 1000);
}
