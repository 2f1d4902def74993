import type { CanaryComparison } from '@mlx-serving/contracts';
import type { RolloutState } from './rollout-state.ts';

const ERROR_RATIO = 2;
const LATENCY_RATIO = 1.5;
const MOST_LOG = 20;
/** A look may be late. */
const LOOKS_OF_ONE_SPELL = 3;

/** What thresholds on the bare ratios would say now; undefined when they would let the canary be. Nothing acts on it. */
export function bareRatioProblem({ baseline, canary }: Pick<CanaryComparison, 'baseline' | 'canary'>): string | undefined {
  if (!baseline || !canary || canary.requests === 0n) return undefined;
  if (canary.errorRate > ERROR_RATIO * baseline.errorRate) return `error rate ${percent(canary.errorRate)} against ${percent(baseline.errorRate)}`;
  const [slow, usual] = [canary.latencyP95Ms ?? 0, baseline.latencyP95Ms ?? Number.POSITIVE_INFINITY];
  return slow > LATENCY_RATIO * usual ? `P95 ${Math.round(slow)} ms against ${Math.round(usual)} ms` : undefined;
}

/**
 * Counts a look that would have rolled back, and writes down each time that looks begin to.
 * @param lookMs how far looks are apart
 */
export function withCounterfactual(state: RolloutState, problem: string, nowMs: number, lookMs: number): RolloutState {
  const { rollbacks, firstAtMs, firstReason, lastAtMs, log } = state.counterfactual;
  const goesOn = nowMs - lastAtMs <= LOOKS_OF_ONE_SPELL * lookMs;
  const written = goesOn ? log : [...log, { atMs: nowMs, reason: problem, percentage: state.percentage }].slice(-MOST_LOG);
  return { ...state, counterfactual: { rollbacks: rollbacks + 1, firstAtMs: firstAtMs || nowMs, firstReason: firstReason || problem, lastAtMs: nowMs, log: written } };
}

function percent(rate: number): string {
  return `${(rate * 100).toFixed(2)} %`;
}
