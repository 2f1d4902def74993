import type { FlagReason } from '@mlx-serving/policy';

/** Who asks. Without a key a partial rollout is off (SPEC F7); an empty key is none. */
export interface EvaluationContext {
  readonly key?: string | undefined;
  readonly attributes?: Record<string, unknown> | undefined;
}

export interface FlagAnswer {
  readonly enabled: boolean;
  readonly reason: FlagReason;
}

export interface EmergencyState {
  /** Every flag is off. */
  readonly killSwitch: boolean;
  /** All traffic goes to the baseline variant. It decides about variants, not about flags. */
  readonly rollbackToBaseline: boolean;
}

/** All flags of one snapshot. Its functions are total: they never throw and never wait. */
export interface CompiledFlags {
  /** Sorted. */
  readonly names: readonly string[];
  readonly emergency: EmergencyState;
  evaluate(name: string, context: EvaluationContext): FlagAnswer;
  /** Every flag at once; a flag that others require, and a draw of strategy `random`, counts once. `enabled` is sorted. */
  evaluateAll(context: EvaluationContext): { enabled: readonly string[]; reasons: Record<string, FlagReason> };
}
