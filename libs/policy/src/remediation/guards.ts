import type { ExecutorSettings, Remediation } from '../slo/slo-policy.ts';
import type { Actuator, ExecutorState, Rule } from './executor-state.ts';
import { isSecondReversal } from './loop-detection.ts';

/** What a policy wants to do. */
export interface Proposal {
  readonly policy: string;
  readonly priority: number;
  readonly action: Remediation['type'];
  readonly actuator: Actuator;
  readonly from: number;
  readonly to: number;
}

export interface GuardContext {
  readonly state: ExecutorState;
  readonly settings: ExecutorSettings;
  readonly nowMs: number;
}

export const barKey = ({ policy, action, actuator }: Pick<Proposal, 'policy' | 'action' | 'actuator'>): string => `${policy} ${action} ${actuator}`;

/** The first rule that speaks against a proposal; undefined when it may be done (SPEC Q4). */
export function objectionTo(proposal: Proposal, { state, settings, nowMs }: GuardContext): Rule | undefined {
  const { actuator, action, policy, priority, from, to } = proposal;
  const owner = state.leases.find((lease) => lease.actuator === actuator && lease.policy !== policy);
  const mine = state.moves.filter((move) => !move.undo && move.actuator === actuator && move.action === action);
  const since = nowMs - settings.execution_window_ms;
  if ((state.frozen[actuator] ?? 0) > nowMs) return 'frozen';
  if (owner && owner.priority >= priority) return 'owned';
  if ((state.barred[barKey(proposal)] ?? 0) > nowMs) return 'made_worse';
  if (from === to) return 'at_bound';
  if (mine.some(({ atMs }) => atMs > nowMs - settings.cooldown_ms)) return 'cooldown';
  if (mine.filter(({ atMs }) => atMs > since).length >= settings.max_executions_per_window) return 'budget';
  return isSecondReversal(state.moves, actuator, to > from ? 1 : -1, since) ? 'reversal' : undefined;
}
