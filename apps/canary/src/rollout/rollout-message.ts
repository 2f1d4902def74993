import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type CanaryComparison, type CanaryRollout, CanaryRolloutSchema } from '@mlx-serving/contracts';
import type { RolloutService } from './rollout-service.ts';
import type { RolloutState } from './rollout-state.ts';
import type { Verdict } from './verdict.ts';

/** Fewest finished requests of each variant before anything is said about it. */
export const LEAST_REQUESTS = 20n;

export type RolloutStatus =
  | 'disabled'
  | 'insufficient_data'
  | 'inconclusive'
  | 'healthy'
  | 'warning'
  | 'sample_ratio_mismatch'
  | 'frozen'
  | 'waiting_for_approval'
  | Exclude<RolloutState['phase'], 'running'>;

export interface StatusFacts {
  readonly enabled: boolean;
  /** Whether the kept rollout was read. */
  readonly known: boolean;
  readonly state: RolloutState;
  readonly verdict: Verdict | undefined;
  readonly blind: string | undefined;
  readonly comparison: Pick<CanaryComparison, 'baseline' | 'canary'>;
}

/** One word for the whole. `healthy` is a finding, surely not worse by the margin; without one it is `inconclusive`. */
export function statusOf(facts: StatusFacts): RolloutStatus {
  if (facts.state.phase !== 'running') return facts.state.phase;
  return facts.enabled ? runningStatus(facts) : 'disabled';
}

function runningStatus({ known, state, verdict, blind, comparison }: StatusFacts): RolloutStatus {
  if (!known) return 'frozen';
  const few = [comparison.baseline, comparison.canary].some((summary) => (summary?.requests ?? 0n) < LEAST_REQUESTS);
  if (state.warnings.length > 0) return 'warning';
  if (verdict?.judgement.sampleRatioMismatch) return 'sample_ratio_mismatch';
  if (few) return 'insufficient_data';
  if (blind) return 'frozen';
  if (!verdict?.judgement.notWorse) return 'inconclusive';
  const waits = state.stages[state.stage]?.gate === true && state.stage + 1 < state.stages.length;
  return waits ? 'waiting_for_approval' : 'healthy';
}

/** The rollout as others see it. */
export function rolloutMessage(state: RolloutState, service: RolloutService, status: RolloutStatus, acting: boolean): CanaryRollout {
  const { id, source, phase, stages, stage, percentage, history, counterfactual } = state;
  return create(CanaryRolloutSchema, {
    id,
    source,
    phase,
    status,
    reason: state.reason || (status === 'frozen' ? (service.blind ?? '') : state.warnings.join(', ') || (service.waiting ?? '')),
    stages: stages.map(({ percentage: share, holdMs, gate }) => ({ percentage: share, holdMs: BigInt(holdMs), gate })),
    stage,
    percentage,
    stageSinceMs: BigInt(state.stageSinceMs),
    cooldownUntilMs: BigInt(state.cooldownUntilMs),
    version: BigInt(state.version),
    history: history.map((entry) => ({ ...entry, atMs: BigInt(entry.atMs) })),
    acting,
    counterfactual: counterfactualMessage(counterfactual),
    ...(service.verdict ? { judgement: judgementMessage(service.verdict, state, service) } : {}),
  });
}

function counterfactualMessage({ rollbacks, firstAtMs, firstReason, log }: RolloutState['counterfactual']): NonNullable<MessageInitShape<typeof CanaryRolloutSchema>['counterfactual']> {
  return { rollbacks: BigInt(rollbacks), firstAtMs: BigInt(firstAtMs), firstReason, log: log.map((entry) => ({ ...entry, atMs: BigInt(entry.atMs) })) };
}

function judgementMessage(verdict: Verdict, { exits }: RolloutState, service: RolloutService): NonNullable<MessageInitShape<typeof CanaryRolloutSchema>['judgement']> {
  return {
    findings: verdict.findings.map(({ name, severity, fired, slight, progress, ratio }) => ({ trigger: name, severity, fired, slight, progress, ...(ratio === undefined ? {} : { ratio }) })),
    excessBadRequests: verdict.judgement.excessBad,
    sampleRatioMismatch: verdict.judgement.sampleRatioMismatch,
    notWorse: verdict.judgement.notWorse,
    promotionProgress: verdict.judgement.promotionProgress,
    canaryUnits: BigInt(service.evidence?.units.canary ?? 0),
    baselineUnits: BigInt(service.evidence?.units.baseline ?? 0),
    memorySlopes: [...verdict.workers.slopes],
    workerExits: BigInt(exits.count),
    fired: verdict.fired.map(({ name, severity }) => ({ trigger: name, severity })),
    safe: service.isSafe,
  };
}
