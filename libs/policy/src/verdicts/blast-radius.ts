import type { EventCounts } from './e-process.ts';

/** Standard deviations that the excess must have besides, so that a long and healthy rollout never drifts over the budget. */
const LEAST_DEVIATIONS = 3.5;

/**
 * How many of the canary's requests were bad beyond what the baseline would have made of them.
 * @param bad requests that failed or were slower than the baseline's P99
 */
export function excessBadRequests(bad: EventCounts, requests: EventCounts): number {
  return bad.canary - requests.canary * expectedRate(bad, requests);
}

/** Whether the excess is above the budget, though the test may not be sure yet. */
export function exceedsBlastRadius(bad: EventCounts, requests: EventCounts, budget: number): boolean {
  const rate = expectedRate(bad, requests);
  const deviation = Math.sqrt(requests.canary * rate * (1 + requests.canary / Math.max(1, requests.baseline)));
  const excess = excessBadRequests(bad, requests);
  return excess > budget && excess > LEAST_DEVIATIONS * deviation;
}

/** The baseline's rate, half an event added, so that a baseline without any is not taken for perfect. */
function expectedRate(bad: EventCounts, requests: EventCounts): number {
  return (bad.baseline + 0.5) / (requests.baseline + 1);
}
