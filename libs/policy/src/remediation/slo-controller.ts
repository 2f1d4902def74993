import type { RequestSample } from '../slo/metric-window.ts';
import { isGood, SloEvaluator, type SloVerdict } from '../slo/slo-evaluator.ts';
import type { QosMonitorSettings, SloPolicy } from '../slo/slo-policy.ts';
import type { AlertEffect } from './alert-book.ts';
import type { ActionRecord, ExecutorState, RemediationLease } from './executor-state.ts';
import { RemediationExecutor, workerOf } from './remediation-executor.ts';

/** What the samples cannot say, at the time of an evaluation. */
export interface Surroundings {
  /** Requests that run at all workers that answer; undefined when none does. */
  readonly runningRequests: number | undefined;
  /** A gateway's concurrency limit without a remediation. */
  readonly baseLimit: number;
  /** The most that the workers' memory allows. Default: no bound. */
  readonly limitCeiling?: number;
  /** Whether a variant is being judged, so that both must be treated alike. */
  readonly judging?: boolean;
  /** Workers that serve, `host:port`, those that can stand in for one another together. */
  readonly pools?: readonly (readonly string[])[];
  /** Whether this replica may act. Default: true. */
  readonly acting?: boolean;
}

export interface Evaluation {
  readonly verdicts: readonly SloVerdict[];
  /** Records that this evaluation wrote. */
  readonly records: readonly ActionRecord[];
  readonly alerts: readonly AlertEffect[];
}

/** The loop from samples to leases, with no clock of its own and no I/O: the service, the library and the replay all run this one. */
export class SloController {
  readonly evaluator: SloEvaluator;
  #executor: RemediationExecutor;
  #settings: QosMonitorSettings;
  readonly #now: () => number;
  readonly #trials = new Map<string, { good: number; bad: number }>();

  /** @param now the clock in milliseconds; state that is taken up later must be of the same clock */
  constructor(settings: QosMonitorSettings, now: () => number, state?: ExecutorState) {
    this.#settings = settings;
    this.#now = now;
    this.evaluator = new SloEvaluator(settings, now);
    this.#executor = new RemediationExecutor();
    if (state) this.restore(state);
  }

  configure(settings: QosMonitorSettings): void {
    this.#settings = settings;
    this.evaluator.configure(settings);
  }

  get settings(): QosMonitorSettings {
    return this.#settings;
  }

  get state(): ExecutorState {
    return this.#executor.state;
  }

  /** Takes up what another replica, or this one before its restart, has left. */
  restore(state: ExecutorState): void {
    this.#executor = new RemediationExecutor(state);
    for (const { policy, slo } of [...state.leases, ...state.alerts]) this.evaluator.assumeViolated(policy, slo);
  }

  get leases(): readonly RemediationLease[] {
    return this.#executor.leases;
  }

  /** @returns false when one of its numbers was refused */
  add(sample: RequestSample): boolean {
    this.#countTrial(sample);
    return this.evaluator.add(sample);
  }

  evaluate(surroundings: Surroundings): Evaluation {
    const { runningRequests, baseLimit, limitCeiling = Number.POSITIVE_INFINITY, judging = false, pools = [], acting = true } = surroundings;
    const off = !this.#settings.enabled || !this.#settings.evaluator.enabled;
    const verdicts = off ? [] : this.evaluator.evaluate(runningRequests);
    if (!acting) return { verdicts, records: [], alerts: [] };
    const before = this.#executor.state;
    const alerts = this.#executor.step({
      nowMs: this.#now(),
      settings: { ...this.#settings.executor, enabled: this.#settings.executor.enabled && !off },
      policies: this.evaluator.policies,
      verdicts,
      baseLimit,
      limitCeiling,
      judging,
      culprit: (policy) => this.#culprit(policy, pools),
      trial: (worker, policy, slo) => this.#trials.get(trialKey(worker, policy, slo)) ?? { good: 0, bad: 0 },
    });
    this.#beginTrials(before.leases);
    const known = new Map(before.records.map((record) => [record.id, record.times]));
    return { verdicts, alerts, records: this.state.records.filter(({ id, times }) => known.get(id) !== times) };
  }

  /** The worst worker of a policy's SLOs, when at least as many stay in its pool as are taken out. */
  #culprit(policy: SloPolicy, pools: readonly (readonly string[])[]): string | undefined {
    const open = new Set(this.leases.filter(({ action }) => action === 'circuit_break').map(({ actuator }) => workerOf(actuator)));
    const spare = new Set(pools.filter((pool) => (pool.filter((worker) => open.has(worker)).length + 1) * 2 <= pool.length).flat());
    for (const slo of policy.slos) {
      const worst = this.evaluator.byWorker(slo).find(({ worker, beyond }) => beyond && spare.has(worker) && !open.has(worker));
      if (worst) return worst.worker;
    }
    return undefined;
  }

  /** A circuit that was half opened now is judged by what the worker does from now on. */
  #beginTrials(before: readonly RemediationLease[]): void {
    const halfOpen = this.leases.filter(({ action, value }) => action === 'circuit_break' && value === 0.5);
    const wanted = new Set(halfOpen.map(({ actuator, policy, slo }) => trialKey(workerOf(actuator), policy, slo)));
    for (const key of this.#trials.keys()) if (!wanted.has(key)) this.#trials.delete(key);
    for (const lease of halfOpen) {
      if (before.some(({ id, value }) => id === lease.id && value === 0.5)) continue;
      this.#trials.set(trialKey(workerOf(lease.actuator), lease.policy, lease.slo), { good: 0, bad: 0 });
      this.evaluator.forgetWorker(workerOf(lease.actuator));
    }
  }

  #countTrial(sample: RequestSample): void {
    if (this.#trials.size === 0) return;
    for (const { id, slos } of this.evaluator.policies) {
      for (const slo of slos) {
        const trial = this.#trials.get(trialKey(sample.worker, id, slo.name));
        const good = isGood(slo, sample);
        if (trial && good !== undefined) trial[good ? 'good' : 'bad']++;
      }
    }
  }
}

function trialKey(worker: string, policy: string, slo: string): string {
  return `${worker} ${policy} ${slo}`;
}
