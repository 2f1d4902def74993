import type { SloVerdict } from '../slo/slo-evaluator.ts';
import type { Remediation, SloPolicy } from '../slo/slo-policy.ts';
import type { OpenAlert, Outcome, Rule } from './executor-state.ts';

/** An alert to send, or to take back. */
export interface AlertEffect {
  readonly kind: 'trigger' | 'resolve';
  readonly alert: OpenAlert;
}

/** The channel of alerts about the controller itself: every one that is configured. */
export const EVERY_CHANNEL = 'all';

/** Alerts that are open, one for each policy, SLO and channel; each is sent once and resolved once. */
export class AlertBook {
  readonly effects: AlertEffect[] = [];
  readonly notes: { outcome: Outcome; rule: Rule; alert: OpenAlert }[] = [];
  #open: readonly OpenAlert[];
  readonly #nowMs: number;

  constructor(open: readonly OpenAlert[], nowMs: number) {
    this.#open = open;
    this.#nowMs = nowMs;
  }

  get open(): readonly OpenAlert[] {
    return this.#open;
  }

  raise(policy: SloPolicy, verdict: SloVerdict, { params, reason }: Remediation, dryRun: boolean): void {
    const channel = String(params['channel']);
    const key = `${dryRun ? 'dry:' : ''}${policy.id}/${verdict.slo}/${channel}`;
    const found = verdict.value === undefined ? '' : `: ${verdict.metric} is ${round(verdict.value)}, threshold ${verdict.threshold}`;
    const { slo, severity } = verdict;
    this.#raise({ key, channel, policy: policy.id, slo, severity, summary: `${reason}${found}`, sinceMs: this.#nowMs }, 'slo_violated', dryRun);
  }

  raiseLoop(actuator: string, policy: string, dryRun: boolean): void {
    const summary = `The actuator ${actuator} went in circles and is frozen at its own setting.`;
    this.#raise({ key: `loop/${actuator}`, channel: EVERY_CHANNEL, policy, slo: '', severity: 'critical', summary, sinceMs: this.#nowMs }, 'loop', dryRun);
  }

  /** Resolves what has recovered, and what no policy asks for any more. One that nothing can be said about stays open. */
  resolveAllBut(policies: readonly SloPolicy[], verdicts: readonly SloVerdict[], frozen: readonly string[]): void {
    for (const alert of this.#open) {
      const isLoop = alert.key.startsWith('loop/');
      const verdict = verdicts.find((each) => each.policy === alert.policy && each.slo === alert.slo)?.verdict;
      const known = policies.some(({ id, slos }) => id === alert.policy && slos.some(({ name }) => name === alert.slo));
      const over = isLoop ? !frozen.includes(alert.key.slice('loop/'.length)) : !known || verdict === 'ok';
      if (over) this.#resolve(alert, isLoop || known ? 'recovered' : 'policy_gone');
    }
  }

  #raise(alert: OpenAlert, rule: Rule, dryRun: boolean): void {
    if (this.#open.some(({ key }) => key === alert.key)) return;
    this.#open = [...this.#open, alert];
    this.notes.push({ outcome: dryRun ? 'would_have' : 'alerted', rule, alert });
    if (!dryRun) this.effects.push({ kind: 'trigger', alert });
  }

  #resolve(alert: OpenAlert, rule: Rule): void {
    this.#open = this.#open.filter(({ key }) => key !== alert.key);
    const dryRun = alert.key.includes('dry:');
    this.notes.push({ outcome: 'resolved', rule, alert });
    if (!dryRun) this.effects.push({ kind: 'resolve', alert });
  }
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}
