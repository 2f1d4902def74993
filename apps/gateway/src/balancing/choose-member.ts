/** What a choice depends on. */
export interface Loaded {
  /** Tokens that are outstanding, estimated. */
  readonly load: number;
}

/**
 * Power of two choices: of two drawn at random the one with less to do; at most three are all looked at.
 * @param draw a number of at least 0 and below 1
 */
export function chooseLeastLoaded<T extends Loaded>(candidates: readonly T[], draw: () => number): T | undefined {
  const drawn = candidates.length <= 3 ? shuffled(candidates, draw) : twoOf(candidates, draw);
  return drawn.reduce<T | undefined>((best, one) => (best && best.load <= one.load ? best : one), undefined);
}

/**
 * Draws that hang on a prefix alone, so that every gateway, and every process of one, draws the same workers for it
 * without asking the others (mulberry32).
 */
export function drawsOf(key: number): () => number {
  let state = key | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Whether a worker has so much more to do than the least loaded one that its cache is not worth the wait. */
export function isOverloaded(worker: Loaded, candidates: readonly Loaded[], ratio: number, slackTokens: number): boolean {
  const least = candidates.reduce((lowest, { load }) => Math.min(lowest, load), Number.POSITIVE_INFINITY);
  return worker.load > least * ratio + slackTokens;
}

function twoOf<T>(candidates: readonly T[], draw: () => number): T[] {
  const first = Math.floor(draw() * candidates.length);
  const second = (first + 1 + Math.floor(draw() * (candidates.length - 1))) % candidates.length;
  return [candidates[first] as T, candidates[second] as T];
}

/** Begins at a random place, so that equals take turns. */
function shuffled<T>(candidates: readonly T[], draw: () => number): T[] {
  const start = Math.floor(draw() * candidates.length);
  return [...candidates.slice(start), ...candidates.slice(0, start)];
}
