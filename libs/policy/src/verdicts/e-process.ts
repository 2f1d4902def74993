/** The effect sizes that the test mixes: how many times likelier an event may be with the canary (SPEC 6). */
export const RATIOS: readonly number[] = [1.25, 1.5, 2, 3, 5, 8];

const { exp, log } = Math;
const LOG_RATIOS = RATIOS.map((ratio) => log(ratio));

/** Events of one kind, by the variant that they happened to. Replicas merge theirs by adding. */
export interface EventCounts {
  canary: number;
  baseline: number;
}

/**
 * The logarithm of `e(ρ) = Π ρ^[event is the canary's] / (wρ + 1 − w)` for each ρ of RATIOS. Stages multiply: add theirs.
 * @param share the canary's share of the units, `w`: above 0 and below 1
 */
export function logEValues({ canary, baseline }: EventCounts, share: number): number[] {
  const all = canary + baseline;
  return RATIOS.map((ratio, index) => canary * (LOG_RATIOS[index] ?? 0) - all * log(share * ratio + 1 - share));
}

/** The logarithm of `e(ρ)` for one ρ. */
export function logEValue({ canary, baseline }: EventCounts, share: number, ratio: number): number {
  return canary * log(ratio) - (canary + baseline) * log(share * ratio + 1 - share);
}

/** The logarithm of the mean of e-values that are given by their logarithms. A mean of e-values is an e-value. */
export function logMean(logs: readonly number[]): number {
  if (logs.length === 0) return 0;
  let greatest = Number.NEGATIVE_INFINITY;
  for (const each of logs) if (each > greatest) greatest = each;
  if (greatest === Number.NEGATIVE_INFINITY) return greatest;
  let sum = 0;
  for (const each of logs) sum += exp(each - greatest);
  return greatest + log(sum / logs.length);
}

/**
 * The same test turned round: the logarithm of an e-value against "the canary has `margin` times as many events or more".
 * It grows while events fall to the canary as its share says, or less.
 */
export function logNotWorse(counts: EventCounts, share: number, margin: number): number {
  return -logEValue(counts, share, margin);
}

/** The canary's rate of events over the baseline's, from their counts; undefined without an event of the baseline. */
export function estimatedRatio({ canary, baseline }: EventCounts, share: number): number | undefined {
  return baseline > 0 ? canary / share / (baseline / (1 - share)) : undefined;
}
