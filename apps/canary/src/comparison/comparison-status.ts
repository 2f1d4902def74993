import type { VariantSummary } from '@mlx-serving/contracts';

/** Fewest finished requests of each variant before anything is said about it. */
export const LEAST_REQUESTS = 20n;

export type ComparisonStatus = 'disabled' | 'healthy' | 'insufficient_data';

/**
 * What may be said without a statistical test: `healthy` means no more than that both variants have enough requests
 * and none of the canary's failed. A canary with failures is neither cleared nor blamed: that takes the test of SPEC C2.
 */
export function comparisonStatus(enabled: boolean, baseline: VariantSummary, canary: VariantSummary): ComparisonStatus {
  if (!enabled) return 'disabled';
  const enough = baseline.requests >= LEAST_REQUESTS && canary.requests >= LEAST_REQUESTS;
  return enough && canary.errors === 0n ? 'healthy' : 'insufficient_data';
}
