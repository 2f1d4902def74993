import type { EventCounts } from './e-process.ts';

/** Standard deviations that the excess must have besides, so that a long and healthy rollout never drifts over the budget. */
const LEAST_DEVIATIONS = 3.5;

/** How many of the canary's units had an event beyond what the baseline's would have made of them, and the variance of that number by chance. */
export interface Excess {
  readonly units: number;
  readonly variance: number;
}

export const NO_EXCESS: Excess = { units: 0, variance: 0 };

/**
 * The excess of one stage. What is expected follows from the baseline's events and the share, not from the units that were
 * seen: a unit is seen once in a rollout, and may fail in a later stage for the first time.
 * @param share the canary's; without a baseline beside it there is nothing to compare with, and no excess
 */
export function excessOf({ canary, baseline }: EventCounts, share: number): Excess {
  if (share <= 0 || share >= 1) return NO_EXCESS;
  const odds = share / (1 - share);
  // Half an event is added, so that a baseline without any is not taken for perfect.
  const expected = (baseline + 0.5) * odds;
  return { units: canary - expected, variance: expected * (1 + odds) };
}

/** A stage on top of those before it. One that went better than expected makes up for none that went worse. */
export function addExcess(before: Excess, stage: Excess): Excess {
  return { units: before.units + Math.max(0, stage.units), variance: before.variance + stage.variance };
}

/** Whether the excess is above the budget, though the test may not be sure yet. */
export function exceedsBlastRadius({ units, variance }: Excess, budget: number): boolean {
  return units > budget && units > LEAST_DEVIATIONS * Math.sqrt(variance);
}
