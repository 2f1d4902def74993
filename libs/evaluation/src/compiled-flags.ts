import type { FlagConfig, FlagReason, SegmentDefinition, StandardErrorCode, StandardReason } from '@mlx-serving/policy';

/** Who asks. Without a key a partial rollout is off (SPEC F7); an empty key is none. */
export interface EvaluationContext {
  readonly key?: string | undefined;
  readonly attributes?: Record<string, unknown> | undefined;
}

export interface FlagAnswer {
  readonly enabled: boolean;
  readonly reason: FlagReason;
  /** The reason in OpenFeature's terms. */
  readonly standardReason: StandardReason;
  /** OpenFeature's error code; absent unless `standardReason` is ERROR. */
  readonly errorCode?: StandardErrorCode;
  /** Name of the variant that the key has; absent for a flag that is off or has none. */
  readonly variant?: string;
  /** The payload of the variant. */
  readonly payload?: unknown;
}

export interface EmergencyState {
  /** Every flag is off. */
  readonly killSwitch: boolean;
  /** All traffic goes to the baseline variant. It decides about variants, not about flags. */
  readonly rollbackToBaseline: boolean;
}

export interface FlagInput {
  readonly name: string;
  /** As it holds in the environment. */
  readonly config: FlagConfig;
  /** Whether the kill latch holds, besides `config.killSwitch`. */
  readonly killed: boolean;
}

export interface SegmentInput {
  readonly name: string;
  readonly definition: SegmentDefinition;
}

export interface CompileInput {
  readonly flags: Iterable<FlagInput>;
  readonly segments?: Iterable<SegmentInput> | undefined;
  readonly emergency: EmergencyState;
}

/** What becomes different with a revision. */
export interface FlagSetChange {
  readonly changed?: Iterable<FlagInput> | undefined;
  readonly removed?: Iterable<string> | undefined;
  readonly changedSegments?: Iterable<SegmentInput> | undefined;
  readonly removedSegments?: Iterable<string> | undefined;
  readonly emergency?: EmergencyState | undefined;
}

/** How often a flag was on and off. */
export interface FlagCount {
  readonly flag: string;
  readonly enabled: number;
  readonly disabled: number;
}

/** Frozen, and the same object for the same answers until a flag changes or many others were given. */
export interface AllAnswers {
  /** Sorted. */
  readonly enabled: readonly string[];
  readonly reasons: Readonly<Record<string, FlagReason>>;
}

/** Takes the answer of each flag, in the order of their names. */
export type AnswerObserver = (name: string, answer: FlagAnswer) => void;

/** One thing that was looked at on the way to an answer. */
export interface ExplanationStep {
  readonly check: 'emergency' | 'kill' | 'enabled' | 'parent' | 'requires' | 'blacklist' | 'whitelist' | 'whitelistOnly' | 'segments' | 'rule' | 'rollout' | 'variant';
  /** What was compared with what, and how it came out. */
  readonly detail: string;
}

/** An answer with the way to it: the steps in their order, the last of which decided. */
export interface Explanation extends FlagAnswer {
  readonly flag: string;
  readonly steps: readonly ExplanationStep[];
}

/** All flags of one snapshot. Its questions are total: they never throw and never wait. */
export interface CompiledFlags {
  /** Sorted. */
  readonly names: readonly string[];
  readonly emergency: EmergencyState;
  evaluate(name: string, context: EvaluationContext): FlagAnswer;
  /** Every flag at once; a flag that others require, and a draw of strategy `random`, counts once. */
  evaluateAll(context: EvaluationContext, observe?: AnswerObserver): AllAnswers;
  /** The answer, and each step that led to it. A draw of strategy `random` is a new one. */
  explain(name: string, context: EvaluationContext): Explanation;
}
