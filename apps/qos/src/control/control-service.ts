import type { ActionRecord, AlertEffect, RequestSample, RuntimeFile, SloVerdict } from '@mlx-serving/policy';
import { SloController } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { AlertService } from '../alerts/alert-service.ts';
import type { LeaseService } from '../leases/lease-service.ts';
import { directivesOf } from '../leases/directives.ts';
import type { QosMetrics } from '../metrics.ts';
import { windowLabel } from '../reports/window-label.ts';
import type { CanaryWatch } from '../surroundings/canary-watch.ts';
import type { FlagWatch } from '../surroundings/flag-watch.ts';
import type { WorkerLimits } from '../workers/worker-limits.ts';
import type { WorkerService } from '../workers/worker-service.ts';
import type { ControlKeeper } from './control-keeper.ts';
import type { KeptControl } from './control-store.ts';
import { earlier } from './earlier-state.ts';

export interface ControlServiceOptions {
  readonly runtime: RuntimeFile;
  readonly keeper: () => ControlKeeper;
  readonly leases: LeaseService;
  readonly alerts: AlertService;
  readonly workers: WorkerService;
  readonly workerLimits: WorkerLimits;
  readonly canary: CanaryWatch;
  readonly flags: FlagWatch;
  readonly linkedGateways: () => number;
  readonly metrics: QosMetrics;
  readonly logger: Logger;
  /** Unix time in milliseconds that never jumps while the process runs. */
  readonly now: () => number;
}

/** How often the error budgets are kept: what is newer is lost when the process is killed. */
const KEEP_BUDGETS_EVERY_MS = 60_000;

/** The flags that turn the service and its parts on. */
const PARTS = ['qos_monitor', 'qos_monitor.evaluator', 'qos_monitor.executor', 'qos_monitor.policy_store'] as const;

/** The loop: judges every `evaluation_interval_ms`, and turns what it finds into leases, workers' limits and alerts (SPEC Q1–Q4). */
export class ControlService {
  readonly #options: ControlServiceOptions;
  readonly controller: SloController;
  #runtime: RuntimeFile;
  /** The flags that the present settings were made for. */
  #configuredFor: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #verdicts: readonly SloVerdict[] = [];
  #budgetsKeptAt = Number.NEGATIVE_INFINITY;

  constructor(options: ControlServiceOptions) {
    this.#options = options;
    this.#runtime = options.runtime;
    this.controller = new SloController(options.runtime.qos_monitor, options.now);
  }

  /** Starts, or goes on with other policies and bounds. */
  configure(runtime: RuntimeFile): void {
    this.stop();
    this.#runtime = runtime;
    this.#configuredFor = undefined;
    this.#follow();
    this.#showZeros(runtime);
    this.lend();
    this.#timer = setInterval(() => void this.tick().catch((error: Error) => this.#options.logger.error({ err: error }, 'an evaluation failed')), runtime.qos_monitor.evaluator.evaluation_interval_ms);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  add(sample: RequestSample): boolean {
    this.#options.canary.heard(sample.variant);
    this.#options.workers.heard(sample.worker, sample.variant);
    return this.controller.add(sample);
  }

  /** What the last evaluation found, highest priority first. */
  get verdicts(): readonly SloVerdict[] {
    return this.#verdicts;
  }

  /** Takes over what was kept: to act on, or only to lend to this replica's gateways what another replica decided. */
  takeUp(kept: KeptControl | undefined, acting: boolean): void {
    if (!kept) return;
    const ahead = Math.max(0, kept.savedAtMs - this.#options.now());
    this.controller.restore(earlier(kept.executor, ahead));
    if (acting) for (const effect of kept.alerts ?? []) this.#options.alerts.send(effect);
    this.lend();
  }

  /** Keeps everything at once, as before the end. Never rejects. */
  async keepAll(): Promise<void> {
    await this.#keep([]);
    await this.#keepBudgets();
  }

  /** One evaluation. Never rejects. */
  async tick(): Promise<void> {
    const { keeper, workers, workerLimits, alerts, canary, metrics } = this.#options;
    this.#follow();
    const { verdicts, records, alerts: effects } = this.controller.evaluate({
      runningRequests: workers.runningRequests(),
      baseLimit: this.#baseLimit(),
      limitCeiling: this.#ceiling(),
      judging: canary.judging,
      pools: workers.pools,
      acting: keeper().acting,
    });
    this.#logChanges(verdicts);
    this.#verdicts = verdicts;
    this.#show(verdicts, records);
    metrics.acting.set(keeper().acting ? 1 : 0);
    this.lend();
    if (!keeper().acting) return;
    await workerLimits.apply(this.#limitShare(), this.#workerLeaseMs());
    // Kept before they are sent: after a crash one is sent again under the same key rather than forgotten.
    await this.#keep(effects);
    if (this.#options.now() - this.#budgetsKeptAt >= KEEP_BUDGETS_EVERY_MS) await this.#keepBudgets();
    for (const effect of effects) alerts.send(effect);
  }

  /** Lends the gateways what is in force. */
  lend(): void {
    const { leases, keeper, now } = this.#options;
    // A circuit is half opened by the next evaluation after its time, of whichever replica acts then; while none does it ends too.
    const grace = this.#runtime.qos_monitor.executor.remediation_ttl_ms;
    const held = this.controller.leases.filter(({ untilMs, action }) => keeper().acting || now() < untilMs + (action === 'circuit_break' ? grace : 0));
    leases.want(directivesOf({ leases: held, baseLimit: this.#baseLimit() }), this.#runtime.governor.lease_ttl_ms, keeper().term);
  }

  #keep(effects: readonly AlertEffect[]): Promise<void> {
    const { keeper, alerts, now } = this.#options;
    return keeper().save({ savedAtMs: now(), executor: this.controller.state, alerts: [...alerts.pending, ...effects] });
  }

  #keepBudgets(): Promise<void> {
    this.#budgetsKeptAt = this.#options.now();
    return this.#options.keeper().saveBudgets(this.controller.evaluator.budgets);
  }

  /** A gateway's limit without a remediation: its setting, or what the workers' memory allows of it. */
  #baseLimit(): number {
    return Math.max(1, Math.min(this.#runtime.governor.max_concurrent_streams, this.#ceiling()));
  }

  #ceiling(): number {
    return Math.max(1, Math.floor(this.#options.workers.memoryCeiling / Math.max(1, this.#options.linkedGateways())));
  }

  /** What the limit is now, as a share of what it would be without a remediation. */
  #limitShare(): number {
    const lease = this.controller.leases.find(({ actuator }) => actuator === 'limit');
    return lease ? lease.value / this.#baseLimit() : 1;
  }

  /** Lent anew at each evaluation, so for longer than between three of them. */
  #workerLeaseMs(): number {
    const { governor, qos_monitor } = this.#runtime;
    return Math.max(governor.lease_ttl_ms, 3 * qos_monitor.evaluator.evaluation_interval_ms);
  }

  /** Takes over what the flags have turned on or off since. */
  #follow(): void {
    const { flags } = this.#options;
    const now = `${PARTS.map((name) => flags.isOn(name)).join()} ${flags.dryRun}`;
    if (now === this.#configuredFor) return;
    this.#configuredFor = now;
    this.controller.configure(this.#inForce());
  }

  /** The settings, with what the flags turn off taken out. */
  #inForce(): RuntimeFile['qos_monitor'] {
    const { qos_monitor: settings } = this.#runtime;
    const { flags } = this.#options;
    const on = (name: (typeof PARTS)[number]): boolean => flags.isOn(name);
    return {
      ...settings,
      enabled: settings.enabled && on('qos_monitor'),
      evaluator: { ...settings.evaluator, enabled: settings.evaluator.enabled && on('qos_monitor.evaluator') },
      executor: { ...settings.executor, enabled: settings.executor.enabled && on('qos_monitor.executor'), dry_run: settings.executor.dry_run || flags.dryRun },
      policy_store: on('qos_monitor.policy_store') ? settings.policy_store : { policies: [] },
    };
  }

  #showZeros({ qos_monitor: { policy_store } }: RuntimeFile): void {
    const { evaluations, sloViolations, remediations } = this.#options.metrics;
    for (const policy of policy_store.policies.filter((each) => each.enabled)) {
      evaluations.inc({ policy: policy.id }, 0);
      for (const { severity } of policy.slos) sloViolations.inc({ policy: policy.id, severity }, 0);
      for (const { type } of policy.remediations) remediations.inc({ action: type, success: 'true' }, 0);
    }
  }

  #show(verdicts: readonly SloVerdict[], records: readonly ActionRecord[]): void {
    const { metrics, logger } = this.#options;
    const { windowMs, ttft, errorRate } = this.controller.evaluator.window;
    const window = windowLabel(windowMs);
    for (const gauge of [metrics.ttftP95, metrics.ttftP99, metrics.errorRate, metrics.sloVerdict]) gauge.reset();
    metrics.errorRate.set({ window }, errorRate);
    const [p95, p99] = [ttft.percentile(95), ttft.percentile(99)];
    if (p95 !== undefined) metrics.ttftP95.set({ window }, p95);
    if (p99 !== undefined) metrics.ttftP99.set({ window }, p99);
    for (const policy of new Set(verdicts.map((each) => each.policy))) metrics.evaluations.inc({ policy });
    for (const { policy, slo, severity, verdict } of verdicts) {
      metrics.sloVerdict.set({ policy, slo, verdict }, 1);
      if (verdict === 'violated') metrics.sloViolations.inc({ policy, severity });
    }
    for (const record of records) {
      metrics.actions.inc({ action: record.action, outcome: record.outcome });
      if (record.outcome === 'executed' && record.action !== 'alert') metrics.remediations.inc({ action: record.action, success: 'true' });
      if (record.times === 1) logger.info({ ...record }, `remediation ${record.outcome}`);
    }
    metrics.frozenActuators.set(Object.keys(this.controller.state.frozen).length);
  }

  #logChanges(verdicts: readonly SloVerdict[]): void {
    const violatedBefore = new Set(this.#verdicts.filter((each) => each.verdict === 'violated').map((each) => `${each.policy} ${each.slo}`));
    for (const each of verdicts) {
      const before = violatedBefore.has(`${each.policy} ${each.slo}`);
      if (each.verdict === 'violated' && !before) this.#options.logger.warn({ ...each }, 'SLO is violated');
      if (each.verdict === 'ok' && before) this.#options.logger.info({ ...each }, 'SLO holds again');
    }
  }
}
