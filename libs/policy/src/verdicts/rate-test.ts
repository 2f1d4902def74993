import { logMean, RATIOS } from './e-process.ts';

/** What happened so often among so many. */
export interface RateCounts {
  readonly events: number;
  readonly trials: number;
}

/** The logarithm of an e-value against "at most `rate` of the trials have the event", such as exits of a worker. */
export function logRateAbove(counts: RateCounts, rate: number): number {
  return logMean(RATIOS.map((ratio) => logLikelihoodRatio(counts, Math.min(0.999, rate * ratio), rate)));
}

/** The logarithm of an e-value against "at least `rate` of the trials have the event". Grows while events are rare. */
export function logRateBelow(counts: RateCounts, rate: number): number {
  return logMean([2, 4, 10].map((part) => logLikelihoodRatio(counts, rate / part, rate)));
}

function logLikelihoodRatio({ events, trials }: RateCounts, alternative: number, rate: number): number {
  return events * Math.log(alternative / rate) + (trials - events) * Math.log((1 - alternative) / (1 - rate));
}

/** The part of alpha that `crash_rate` has for itself. */
export const CRASH_ALPHA = 0.001;

/**
 * Whether processes exit more often than a rate allows, surely.
 * @param requests that they had meanwhile
 * @param rate exits a request; 0 and less never hold
 */
export function exitsTooOften({ exits, requests }: { readonly exits: number; readonly requests: number }, rate: number): boolean {
  return exits > 0 && rate > 0 && logRateAbove({ events: exits, trials: Math.max(exits, requests) }, rate) >= Math.log(1 / CRASH_ALPHA);
}
