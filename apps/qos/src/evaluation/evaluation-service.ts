import type { RuntimeFile } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { QosMetrics } from '../metrics.ts';
import type { ReportService } from '../reports/report-service.ts';
import { evaluatePolicies, type SloVerdict } from './evaluate-policies.ts';
import { windowLabel } from './window-label.ts';

export interface EvaluationServiceOptions {
  readonly reports: ReportService;
  readonly runningRequests: () => number | undefined;
  readonly metrics: QosMetrics;
  readonly logger: Logger;
}

type QosMonitor = RuntimeFile['qos_monitor'];

/** Judges the policies every `evaluation_interval_ms`, counts what it finds and logs what changed. */
export class EvaluationService {
  readonly #options: EvaluationServiceOptions;
  #settings: QosMonitor | undefined;
  #timer: NodeJS.Timeout | undefined;
  #verdicts: readonly SloVerdict[] = [];

  constructor(options: EvaluationServiceOptions) {
    this.#options = options;
  }

  /** Starts, or goes on with other policies. */
  configure(settings: QosMonitor): void {
    this.stop();
    this.#settings = settings;
    const { evaluations, sloViolations } = this.#options.metrics;
    for (const policy of settings.policy_store.policies.filter((each) => each.enabled)) {
      evaluations.inc({ policy: policy.id }, 0);
      for (const { severity } of policy.slos) sloViolations.inc({ policy: policy.id, severity }, 0);
    }
    this.#timer = setInterval(() => this.tick(), settings.evaluator.evaluation_interval_ms);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** What the last evaluation found, highest priority first. */
  get verdicts(): readonly SloVerdict[] {
    return this.#verdicts;
  }

  tick(): void {
    this.#showWindow();
    if (!this.#settings?.enabled || !this.#settings.evaluator.enabled) return;
    const { policies } = this.#settings.policy_store;
    const { reports, runningRequests, metrics } = this.#options;
    const verdicts = evaluatePolicies(policies, { window: (windowMs) => reports.windowOf(windowMs), runningRequests: runningRequests() });
    for (const policy of policies.filter((each) => each.enabled)) metrics.evaluations.inc({ policy: policy.id });
    for (const { policy, severity, verdict } of verdicts) if (verdict === 'violated') metrics.sloViolations.inc({ policy, severity });
    this.#logChanges(verdicts);
    this.#verdicts = verdicts;
  }

  #showWindow(): void {
    const { reports, metrics } = this.#options;
    const { windowMs, ttft, errorRate } = reports.window;
    const window = windowLabel(windowMs);
    for (const gauge of [metrics.ttftP95, metrics.ttftP99, metrics.errorRate]) gauge.reset();
    metrics.errorRate.set({ window }, errorRate);
    const [p95, p99] = [ttft.percentile(95), ttft.percentile(99)];
    if (p95 !== undefined) metrics.ttftP95.set({ window }, p95);
    if (p99 !== undefined) metrics.ttftP99.set({ window }, p99);
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
