import type { SloVerdict } from '../slo/slo-evaluator.ts';
import type { ExecutorSettings, Remediation, SloPolicy } from '../slo/slo-policy.ts';
import { type AlertEffect, AlertBook } from './alert-book.ts';
import { type ActionRecord, type Actuator, EMPTY_STATE, type ExecutorState, MOST_MOVES, type Outcome, type RemediationLease, type Rule } from './executor-state.ts';
import { barKey, objectionTo, type Proposal } from './guards.ts';
import { isLoop, isSecondReversal } from './loop-detection.ts';
import { addRecord } from './records.ts';

/** What a step rests on. */
export interface ExecutorInput {
  readonly nowMs: number;
  readonly settings: ExecutorSettings;
  /** Those in force, highest priority first. */
  readonly policies: readonly SloPolicy[];
  readonly verdicts: readonly SloVerdict[];
  /** The concurrency limit of a gateway without a remediation, and the most that the workers' memory allows. */
  readonly baseLimit: number;
  readonly limitCeiling: number;
  /** Whether a variant is being judged. */
  readonly judging: boolean;
  /** The worker that is the cause, when enough others remain; for `circuit_break`. */
  readonly culprit: (policy: SloPolicy) => string | undefined;
  /** What a worker has done since its circuit was half opened. */
  readonly trial: (worker: string, policy: string, slo: string) => { readonly good: number; readonly bad: number };
}

const GOOD_TRIALS = 5;
const BAD_TRIALS = 2;
/** Worse by so much after a step is a step that harmed. */
const WORSE = 1.1;

/**
 * Turns verdicts into leases, step by step, so that they never make things worse (SPEC Q3, Q4): cooldown, budget, one owner,
 * one change of direction in a window, loops frozen, everything undone on recovery. No clock, no I/O: the same steps give the same state.
 */
export class RemediationExecutor {
  #state: ExecutorState;

  constructor(state: ExecutorState = EMPTY_STATE) {
    this.#state = state;
  }

  get state(): ExecutorState {
    return this.#state;
  }

  /** What is in force; nothing of dry runs. */
  get leases(): readonly RemediationLease[] {
    return this.#state.leases.filter(({ dryRun }) => !dryRun);
  }

  /** One evaluation's worth. @returns the alerts to send and to resolve */
  step(input: ExecutorInput): AlertEffect[] {
    const { nowMs, settings, policies } = input;
    const inForce = new Map(policies.map((policy) => [policy.id, policy]));
    for (const lease of this.#state.leases) this.#keepOrEnd(lease, inForce.get(lease.policy), input);
    const alerts = new AlertBook(this.#state.alerts, nowMs);
    if (settings.enabled) for (const policy of policies) this.#act(policy, alerts, input);
    this.#freezeLoops(alerts, input);
    alerts.resolveAllBut(settings.enabled ? policies : [], input.verdicts, Object.keys(this.#state.frozen));
    for (const { outcome, alert, rule } of alerts.notes) this.#record(outcome, rule, { ...alert, action: 'alert', actuator: `alert:${alert.channel}`, reason: alert.summary }, undefined, undefined, input);
    this.#state = { ...this.#state, alerts: alerts.open };
    return alerts.effects;
  }

  #act(policy: SloPolicy, alerts: AlertBook, input: ExecutorInput): void {
    const verdict = input.verdicts.find((each) => each.policy === policy.id && each.verdict === 'violated');
    if (!verdict) return;
    const dryRun = policy.dry_run || input.settings.dry_run;
    for (const remediation of policy.remediations) {
      if (remediation.type === 'alert') alerts.raise(policy, verdict, remediation, dryRun);
      else if (remediation.type === 'circuit_break') this.#breakCircuit(policy, remediation, verdict, dryRun, input);
      else this.#turn(policy, remediation, verdict, dryRun, input);
    }
  }

  /** Moves the limit or the share that is shed, or renews what is there. */
  #turn(policy: SloPolicy, remediation: Remediation, verdict: SloVerdict, dryRun: boolean, input: ExecutorInput): void {
    const actuator = nameOf(remediation.type === 'shed_load' ? 'shed' : 'limit', dryRun);
    const held = this.#state.leases.find((lease) => lease.actuator === actuator && lease.policy === policy.id);
    const base = remediation.type === 'shed_load' ? 0 : input.baseLimit;
    const from = this.#state.leases.find((lease) => lease.actuator === actuator)?.value ?? base;
    const to = targetOf(remediation, from, input);
    if (held && remediation.type === 'shed_load') return;
    if (held && input.nowMs - held.steppedMs >= input.settings.cooldown_ms && isWorse(verdict, held)) return this.#takeBack(held, input);
    const proposal: Proposal = { policy: policy.id, priority: policy.priority, action: remediation.type, actuator, from, to };
    const objection = objectionTo(proposal, { state: this.#state, settings: input.settings, nowMs: input.nowMs });
    if (objection) return this.#record('withheld', objection, { ...proposal, slo: verdict.slo, reason: remediation.reason }, from, to, input);
    const rule: Rule = held ? 'still_violated' : 'slo_violated';
    this.#lend(proposal, { remediation, verdict, dryRun, held, rule }, input);
  }

  #breakCircuit(policy: SloPolicy, remediation: Remediation, verdict: SloVerdict, dryRun: boolean, input: ExecutorInput): void {
    const worker = input.judging ? undefined : input.culprit(policy);
    const actuator = nameOf(`circuit:${worker ?? ''}`, dryRun);
    if (this.#state.leases.some((lease) => lease.actuator === actuator)) return;
    const proposal: Proposal = { policy: policy.id, priority: policy.priority, action: 'circuit_break', actuator, from: 0, to: 1 };
    const objection = worker === undefined ? (input.judging ? 'canary_judged' : 'no_worker') : objectionTo(proposal, { state: this.#state, settings: input.settings, nowMs: input.nowMs });
    if (objection) return this.#record('withheld', objection, { ...proposal, slo: verdict.slo, reason: remediation.reason }, 0, 1, input);
    this.#lend(proposal, { remediation, verdict, dryRun, held: undefined, rule: 'slo_violated' }, input);
  }

  #lend(
    { policy, priority, action, actuator, from, to }: Proposal,
    { remediation, verdict, dryRun, held, rule }: { remediation: Remediation; verdict: SloVerdict; dryRun: boolean; held: RemediationLease | undefined; rule: Rule },
    input: ExecutorInput,
  ): void {
    const { nowMs, settings } = input;
    const replaced = this.#state.leases.find((lease) => lease.actuator === actuator && lease.policy !== policy);
    if (replaced) this.#record('undone', 'taken_over', replaced, replaced.value, from, input);
    const sequence = this.#state.sequence + 1;
    const holdsFor = action === 'circuit_break' ? Number(remediation.params['duration_ms']) : settings.remediation_ttl_ms;
    const lease: RemediationLease = {
      id: held?.id ?? `lease-${sequence}`,
      actuator,
      action,
      policy,
      slo: verdict.slo,
      priority,
      value: to,
      reason: remediation.reason,
      dryRun,
      sinceMs: held?.sinceMs ?? nowMs,
      untilMs: nowMs + holdsFor,
      steppedMs: nowMs,
      measuredThen: verdict.value,
      goodSinceMs: undefined,
    };
    this.#state = { ...this.#state, sequence, leases: [...this.#state.leases.filter((each) => each.actuator !== actuator), lease] };
    this.#moved({ actuator, action, policy, direction: to > from ? 1 : -1, undo: false }, nowMs);
    this.#record(dryRun ? 'would_have' : 'executed', rule, lease, from, to, input);
  }

  /** Renews a lease, ends it, or leaves it to run out. */
  #keepOrEnd(lease: RemediationLease, policy: SloPolicy | undefined, input: ExecutorInput): void {
    const { nowMs, settings, verdicts } = input;
    if (!settings.enabled) return this.#end(lease, 'undone', 'executor_off', input);
    if (!policy || !isWanted(lease, policy, settings)) return this.#end(lease, 'undone', 'policy_gone', input);
    if (lease.action === 'circuit_break') return this.#keepCircuit(lease, policy, input);
    const verdict = verdicts.find((each) => each.policy === lease.policy && each.slo === lease.slo)?.verdict;
    if (verdict === 'violated') return this.#replace({ ...lease, goodSinceMs: undefined, untilMs: nowMs + settings.remediation_ttl_ms });
    if (verdict === 'ok') return this.#recover(lease, input);
    if (nowMs >= lease.untilMs) this.#end(lease, 'ran_out', 'ran_out', input);
  }

  /** Ends a lease whose SLO has been good for long enough, unless its actuator has turned round of late. */
  #recover(lease: RemediationLease, input: ExecutorInput): void {
    const { nowMs, settings } = input;
    const goodSinceMs = lease.goodSinceMs ?? nowMs;
    if (nowMs - goodSinceMs >= settings.recovery_ms && this.#mayGoBack(lease, input)) return this.#end(lease, 'undone', 'recovered', input);
    this.#replace({ ...lease, goodSinceMs, untilMs: nowMs + settings.remediation_ttl_ms });
  }

  /** Open for its duration, then half open until enough trials have gone one way. */
  #keepCircuit(lease: RemediationLease, policy: SloPolicy, input: ExecutorInput): void {
    const { nowMs, judging } = input;
    const duration = Number(policy.remediations.find(({ type }) => type === 'circuit_break')?.params['duration_ms'] ?? 0);
    if (judging) return this.#end(lease, 'undone', 'canary_judged', input);
    if (lease.value === 1) {
      if (nowMs >= lease.untilMs) this.#replace({ ...lease, value: 0.5, steppedMs: nowMs, untilMs: nowMs + duration });
      return;
    }
    const { good, bad } = input.trial(workerOf(lease.actuator), lease.policy, lease.slo);
    if (bad >= BAD_TRIALS) {
      this.#replace({ ...lease, value: 1, steppedMs: nowMs, untilMs: nowMs + duration });
      return this.#record('executed', 'trial_bad', lease, 0.5, 1, input);
    }
    if (good >= GOOD_TRIALS) return this.#end(lease, 'undone', 'trial_good', input);
    if (nowMs >= lease.untilMs) this.#end(lease, 'ran_out', 'ran_out', input);
  }

  #takeBack(lease: RemediationLease, input: ExecutorInput): void {
    if (!this.#mayGoBack(lease, input)) return this.#record('withheld', 'reversal', lease, lease.value, input.baseLimit, input);
    this.#end(lease, 'undone', 'made_worse', input);
    this.#state = { ...this.#state, barred: { ...this.#state.barred, [barKey(lease)]: input.nowMs + input.settings.execution_window_ms } };
  }

  #mayGoBack(lease: RemediationLease, { nowMs, settings, baseLimit }: ExecutorInput): boolean {
    return !isSecondReversal(this.#state.moves, lease.actuator, wayBack(lease, baseLimit), nowMs - settings.execution_window_ms);
  }

  #end(lease: RemediationLease, outcome: Outcome, rule: Rule, input: ExecutorInput): void {
    const base = baseOf(lease, input.baseLimit);
    this.#state = { ...this.#state, leases: this.#state.leases.filter(({ id }) => id !== lease.id) };
    this.#moved({ actuator: lease.actuator, action: lease.action, policy: lease.policy, direction: wayBack(lease, input.baseLimit), undo: true }, input.nowMs);
    this.#record(outcome, rule, lease, lease.value, base, input);
  }

  #freezeLoops(alerts: AlertBook, input: ExecutorInput): void {
    const { nowMs, settings } = input;
    const thawed = Object.entries(this.#state.frozen).filter(([, untilMs]) => untilMs > nowMs);
    this.#state = { ...this.#state, frozen: Object.fromEntries(thawed) };
    for (const actuator of new Set(this.#state.moves.map((move) => move.actuator))) {
      if (actuator in this.#state.frozen || !isLoop(this.#state.moves, actuator, settings.loop_detection_window)) continue;
      this.#freeze(actuator, alerts, input);
    }
  }

  #freeze(actuator: Actuator, alerts: AlertBook, input: ExecutorInput): void {
    const lease = this.#state.leases.find((each) => each.actuator === actuator);
    const by = lease ?? this.#state.moves.findLast((move) => move.actuator === actuator);
    if (!by) return;
    const others = <T extends { readonly actuator: Actuator }>(all: readonly T[]): T[] => all.filter((each) => each.actuator !== actuator);
    const frozen = { ...this.#state.frozen, [actuator]: input.nowMs + input.settings.freeze_ms };
    // The loop is dealt with: the moves that made it must not freeze the actuator again when it thaws. Where it went last is remembered.
    const last = this.#state.moves.findLast((move) => move.actuator === actuator);
    const after = last ? [{ ...last, direction: lease ? wayBack(lease, input.baseLimit) : last.direction, undo: true, atMs: input.nowMs }] : [];
    this.#state = { ...this.#state, frozen, leases: others(this.#state.leases), moves: [...others(this.#state.moves), ...after] };
    const about = { policy: by.policy, slo: lease?.slo ?? '', action: by.action, actuator, reason: `${actuator} went in circles` };
    this.#record('frozen', 'loop', about, lease?.value, lease && baseOf(lease, input.baseLimit), input);
    alerts.raiseLoop(actuator, by.policy, actuator.startsWith('dry:'));
  }

  #replace(lease: RemediationLease): void {
    this.#state = { ...this.#state, leases: this.#state.leases.map((each) => (each.id === lease.id ? lease : each)) };
  }

  #moved(move: Omit<ExecutorState['moves'][number], 'atMs'>, atMs: number): void {
    this.#state = { ...this.#state, moves: [...this.#state.moves, { ...move, atMs }].slice(-MOST_MOVES) };
  }

  #record(outcome: Outcome, rule: Rule, about: Pick<ActionRecord, 'policy' | 'slo' | 'action' | 'actuator' | 'reason'>, from: number | undefined, to: number | undefined, input: ExecutorInput): void {
    this.#state = addRecord(this.#state, { outcome, rule, about, from, to }, input.verdicts, input.nowMs);
  }
}

/** Whether a policy, as it is now, still asks for what a lease does. */
function isWanted(lease: RemediationLease, policy: SloPolicy, settings: ExecutorSettings): boolean {
  const asked = policy.remediations.some(({ type }) => type === lease.action) && policy.slos.some(({ name }) => name === lease.slo);
  return asked && (policy.dry_run || settings.dry_run) === lease.dryRun;
}

export function workerOf(actuator: Actuator): string {
  return actuator.slice(actuator.indexOf('circuit:') + 'circuit:'.length);
}

function nameOf(actuator: Actuator, dryRun: boolean): Actuator {
  return dryRun ? `dry:${actuator}` : actuator;
}

function wayBack(lease: RemediationLease, baseLimit: number): 1 | -1 {
  return lease.value > baseOf(lease, baseLimit) ? -1 : 1;
}

function baseOf({ action }: RemediationLease, baseLimit: number): number {
  return action === 'scale_up' || action === 'scale_down' ? baseLimit : 0;
}

/** Where an action would bring its actuator: in bounded steps, within its range. */
function targetOf({ type, params }: Remediation, from: number, { baseLimit, limitCeiling, settings }: ExecutorInput): number {
  if (type === 'shed_load') return Math.min(settings.max_shed_share, Number(params['percentage']) / 100);
  const step = Math.min(Number(params['delta']), Math.max(1, Math.floor(baseLimit * settings.max_step_share)));
  const least = Math.max(1, Math.ceil(baseLimit * settings.least_limit_share));
  const greatest = Math.max(least, Math.min(Math.floor(baseLimit * settings.greatest_limit_share), limitCeiling));
  const to = type === 'scale_up' ? from + step : from - step;
  const inRange = Math.min(greatest, Math.max(least, to));
  // A range that has shrunk below where the actuator is must not turn an action round.
  return type === 'scale_up' ? Math.max(from, inRange) : Math.min(from, inRange);
}

function isWorse({ value, metric }: SloVerdict, { measuredThen }: RemediationLease): boolean {
  if (value === undefined || measuredThen === undefined) return false;
  return metric === 'throughput' ? value * WORSE < measuredThen : value > measuredThen * WORSE;
}
