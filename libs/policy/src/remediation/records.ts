import type { SloVerdict } from '../slo/slo-evaluator.ts';
import { type ActionRecord, type ExecutorState, MOST_RECORDS, type Outcome, type Rule } from './executor-state.ts';

interface Note {
  readonly outcome: Outcome;
  readonly rule: Rule;
  readonly about: Pick<ActionRecord, 'policy' | 'slo' | 'action' | 'actuator' | 'reason'>;
  readonly from: number | undefined;
  readonly to: number | undefined;
}

/** Writes down why something was done or not. What is withheld again for the same reason is counted, not repeated. */
export function addRecord(state: ExecutorState, { outcome, rule, about, from, to }: Note, verdicts: readonly SloVerdict[], nowMs: number): ExecutorState {
  const { policy, slo, action, actuator, reason } = about;
  const inputs = inputsOf(verdicts.find((each) => each.policy === policy && each.slo === slo));
  const last = state.records.findLast((record) => record.policy === policy && record.action === action && record.actuator === actuator);
  if (outcome === 'withheld' && last?.outcome === 'withheld' && last.rule === rule) {
    const counted = { ...last, times: last.times + 1, lastMs: nowMs, inputs };
    return { ...state, records: state.records.map((record) => (record === last ? counted : record)) };
  }
  const sequence = state.sequence + 1;
  const record: ActionRecord = { id: `action-${sequence}`, atMs: nowMs, policy, slo, action, actuator, outcome, rule, reason, from, to, inputs, times: 1, lastMs: nowMs };
  return { ...state, sequence, records: [...state.records, record].slice(-MOST_RECORDS) };
}

function inputsOf(verdict: SloVerdict | undefined): ActionRecord['inputs'] {
  if (!verdict) return { threshold: 0, samples: 0, windowMs: 0 };
  const { threshold, samples, windowMs, value, bound } = verdict;
  return { threshold, samples, windowMs, ...(value === undefined ? {} : { value }), ...(bound === undefined ? {} : { bound }) };
}
