import type { KeptEvidence } from '@mlx-serving/policy';

export type RolloutPhase = 'running' | 'paused' | 'rolling_back' | 'rolled_back' | 'aborted' | 'promoted';

export interface Stage {
  readonly percentage: number;
  /** Shortest stay. A stage is left on evidence, never on time alone (SPEC C7). */
  readonly holdMs: number;
  /** The next stage needs a person. */
  readonly gate: boolean;
}

export interface HistoryEntry {
  readonly atMs: number;
  readonly event: 'started' | 'stage' | 'paused' | 'resumed' | 'rolling_back' | 'rolled_back' | 'aborted' | 'promoted' | 'warning';
  readonly reason: string;
  readonly percentage: number;
  readonly actor: string;
}

/** What thresholds on the bare ratios would have done. */
export interface Counterfactual {
  /** Looks at which they would have rolled back. */
  readonly rollbacks: number;
  readonly firstAtMs: number;
  readonly firstReason: string;
  readonly lastAtMs: number;
  /** Each time that they began to, oldest first. */
  readonly log: readonly { readonly atMs: number; readonly reason: string; readonly percentage: number }[];
}

/** Everything that a restart must find again (SPEC C3), as JSON. Times are Unix milliseconds. */
export interface RolloutState {
  /** Raised by every change, so that two replicas never change one state. */
  readonly version: number;
  /** The process that changed it last. */
  readonly writer: string;
  readonly id: string;
  readonly source: 'file' | 'deploy';
  /** What the file said when the rollout began: another file ends the rollout. */
  readonly file: string;
  readonly phase: RolloutPhase;
  readonly reason: string;
  readonly stages: readonly Stage[];
  readonly stage: number;
  /** In force. */
  readonly percentage: number;
  readonly stageSinceMs: number;
  /** The routing revision of the stage: reports of requests that were decided before it do not count. */
  readonly stageRevision: string;
  readonly cooldownUntilMs: number;
  /** At 0 % the canary's requests that have no token yet start anew at the baseline. */
  readonly moveUnstarted: boolean;
  readonly warnings: readonly string[];
  /** Of the canary's workers in the whole rollout. */
  readonly exits: { readonly count: number; readonly atMs: readonly number[] };
  /** The canary's requests in the stages before this one. */
  readonly requestsBefore: number;
  readonly evidence: KeptEvidence | null;
  readonly counterfactual: Counterfactual;
  readonly history: readonly HistoryEntry[];
  /** Idempotency keys that were seen, the newest last. */
  readonly keys: readonly string[];
}

const MOST_HISTORY = 100;
const MOST_KEYS = 100;
/** Steps of a gradual rollback, in percent (SPEC C3). */
const GRADUAL_STEPS: readonly number[] = [10, 5, 0];

export const emptyState: RolloutState = {
  version: 0,
  writer: '',
  id: '',
  source: 'file',
  file: '',
  phase: 'running',
  reason: '',
  stages: [],
  stage: 0,
  percentage: 0,
  stageSinceMs: 0,
  stageRevision: '',
  cooldownUntilMs: 0,
  moveUnstarted: false,
  warnings: [],
  exits: { count: 0, atMs: [] },
  requestsBefore: 0,
  evidence: null,
  counterfactual: { rollbacks: 0, firstAtMs: 0, firstReason: '', lastAtMs: 0, log: [] },
  history: [],
  keys: [],
};

/** Who changes the state, when and why. */
export interface Cause {
  readonly nowMs: number;
  readonly actor: string;
  readonly reason: string;
}

export function started(state: RolloutState, plan: Pick<RolloutState, 'id' | 'source' | 'file' | 'stages'>, cause: Cause): RolloutState {
  const begun: RolloutState = { ...emptyState, ...plan, version: state.version, writer: state.writer, cooldownUntilMs: state.cooldownUntilMs, history: state.history, keys: state.keys };
  const first = recorded(atStage(begun, 0, cause), 'started', cause);
  return first.percentage >= 100 ? promoted(first, cause) : first;
}

/** The next stage; `promoted` after the last, or at 100 %. */
export function advanced(state: RolloutState, cause: Cause): RolloutState {
  const next = state.stages[state.stage + 1];
  if (!next) return promoted(state, cause);
  const moved = atStage(state, state.stage + 1, cause);
  return next.percentage >= 100 ? promoted(moved, cause) : recorded(moved, 'stage', cause);
}

export function promoted(state: RolloutState, cause: Cause): RolloutState {
  const percentage = Math.max(100, state.percentage);
  return recorded({ ...state, phase: 'promoted', reason: cause.reason, percentage, stageRevision: '', evidence: null }, 'promoted', cause);
}

export function paused(state: RolloutState, cause: Cause): RolloutState {
  return recorded({ ...state, phase: 'paused', reason: cause.reason }, 'paused', cause);
}

export function resumed(state: RolloutState, cause: Cause): RolloutState {
  return recorded({ ...state, phase: 'running', reason: '' }, 'resumed', cause);
}

export function aborted(state: RolloutState, cause: Cause): RolloutState {
  return recorded({ ...state, phase: 'aborted', reason: cause.reason, percentage: 0 }, 'aborted', cause);
}

/** To 0 at once, or by the first gradual step. The evidence stays, so that one sees why. */
export function rolledBack(state: RolloutState, { gradual, cooldownMs }: { gradual: boolean; cooldownMs: number }, cause: Cause): RolloutState {
  const percentage = gradual ? (GRADUAL_STEPS.find((step) => step < state.percentage) ?? 0) : 0;
  const phase = percentage > 0 ? 'rolling_back' : 'rolled_back';
  const stageRevision = percentage > 0 ? '' : state.stageRevision;
  return recorded({ ...state, phase, reason: cause.reason, percentage, stageSinceMs: cause.nowMs, stageRevision, cooldownUntilMs: cause.nowMs + cooldownMs }, phase, cause);
}

export function warned(state: RolloutState, trigger: string, cause: Cause): RolloutState {
  return recorded({ ...state, warnings: [...state.warnings, trigger] }, 'warning', cause);
}

export function withKey(state: RolloutState, key: string): RolloutState {
  return key === '' ? state : { ...state, keys: [...state.keys, key].slice(-MOST_KEYS) };
}

export function isOver({ phase }: RolloutState): boolean {
  return phase === 'rolled_back' || phase === 'aborted' || phase === 'promoted';
}

/** Names the stage or the step that a state is in. */
export function stageOf(state: RolloutState): string {
  const step = state.phase === 'rolling_back' ? `back at ${state.percentage}` : state.stageSinceMs;
  return `${state.id} ${state.stage} ${isOver(state) ? 'over' : step}`;
}

/** Whether it was ended before its last stage, at once or by steps. */
export function hasEnded({ phase }: RolloutState): boolean {
  return phase === 'rolling_back' || phase === 'rolled_back' || phase === 'aborted';
}

/**
 * A state that another process kept, ended as ours was: a rollback that the store has not heard of is not lost with the
 * rest. One of another rollout says nothing about this one; one that was ended before anything was known counts for any.
 * @returns the very state when ours does not end it
 */
export function withEndOf(found: RolloutState, ours: RolloutState): RolloutState {
  const { id, file, phase, reason, percentage, stageSinceMs, moveUnstarted, evidence } = ours;
  const concerns = hasEnded(ours) && (id === '' || id === found.id);
  if (!concerns || (hasEnded(found) && found.percentage <= percentage) || found.percentage < percentage) return found;
  const news = ours.history.filter((entry) => !found.history.some(({ atMs, event }) => atMs === entry.atMs && event === entry.event));
  return {
    ...found,
    file: file || found.file,
    phase,
    reason,
    percentage,
    stageSinceMs,
    moveUnstarted,
    evidence: id === found.id ? evidence : found.evidence,
    cooldownUntilMs: Math.max(found.cooldownUntilMs, ours.cooldownUntilMs),
    history: [...found.history, ...news].slice(-MOST_HISTORY),
    keys: [...new Set([...found.keys, ...ours.keys])].slice(-MOST_KEYS),
  };
}

function atStage(state: RolloutState, stage: number, { nowMs }: Cause): RolloutState {
  return { ...state, phase: 'running', reason: '', stage, percentage: state.stages[stage]?.percentage ?? 0, stageSinceMs: nowMs, stageRevision: '', evidence: null, warnings: [] };
}

function recorded(state: RolloutState, event: HistoryEntry['event'], { nowMs, actor, reason }: Cause): RolloutState {
  return { ...state, history: [...state.history, { atMs: nowMs, event, reason, percentage: state.percentage, actor }].slice(-MOST_HISTORY) };
}
