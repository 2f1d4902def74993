import { EventEmitter } from 'node:events';
import { type ActionRecord, type QosMonitorInput, type QosMonitorSettings, qosMonitor, type RequestSample, SloController, type SloMetric, type SloPolicy, type SloVerdict } from '@mlx-serving/policy';

/** What the constructor takes: `qos_monitor` of runtime.yaml. What has a default may be left out. */
export type QosMonitorOptions = QosMonitorInput;

/** What both classes write to. Any logger of pino's kind fits. */
export interface QosLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface CollectedMetric {
  readonly metric: SloMetric;
  /** Milliseconds; for `throughput` tokens; for `error_rate` 1 for a failed request and 0 for a good one; for `stream_count` the number of streams. */
  readonly value: number;
  /** Unix time in milliseconds. Metrics are judged by when they are collected; this is for the caller's own use. */
  readonly timestamp?: number;
  readonly streamId?: string;
}

export interface SloEvaluation {
  readonly policyId: string;
  readonly sloName: string;
  readonly currentValue: number | undefined;
  readonly threshold: number;
  readonly severity: SloVerdict['severity'];
  readonly verdict: SloVerdict['verdict'];
}

export interface RemediationResult {
  readonly action: string;
  readonly success: boolean;
  readonly reason: string;
  readonly policyId: string;
  readonly outcome: ActionRecord['outcome'];
  readonly rule: ActionRecord['rule'];
  readonly to: number | undefined;
}

export interface QosMonitorEvents {
  'slo:violated': [SloEvaluation];
  'slo:recovered': [SloEvaluation];
  'remediation:executed': [RemediationResult];
  'remediation:undone': [RemediationResult];
}

export interface QosTelemetry {
  readonly activeStreams: number;
  readonly totalRequests: number;
  readonly p50Ttft: number | undefined;
  readonly p95Ttft: number | undefined;
  readonly p99Ttft: number | undefined;
  readonly errorRate: number;
  readonly totalErrors: number;
  readonly violations: number;
  readonly remediations: number;
}

/** Of the surroundings that the library cannot see. */
export interface QosMonitorSurroundings {
  readonly now?: () => number;
  /** What `scale_up` and `scale_down` start from. Default: 64. */
  readonly baseLimit?: number;
}

const NOTHING: RequestSample = { outcome: 'other', durationMs: 0, tokens: 0, worker: '', variant: '' };
const DONE: ReadonlySet<ActionRecord['outcome']> = new Set(['executed', 'alerted']);

/** Watches SLOs and says what to do, in any process and without a server (SPEC Q5). What is to be done is the caller's to do, on `remediation:executed`. */
export class QosMonitor extends EventEmitter<QosMonitorEvents> {
  readonly #controller: SloController;
  readonly #logger: QosLogger | undefined;
  readonly #baseLimit: number;
  readonly #counts = { requests: 0, errors: 0, violations: 0, remediations: 0, refused: 0, evaluations: 0, executions: 0, succeeded: 0 };
  #streams: number | undefined;
  #violated = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  /** @throws ZodError when the options are not `qos_monitor` of runtime.yaml */
  constructor(options: QosMonitorOptions, logger?: QosLogger, { now = Date.now, baseLimit = 64 }: QosMonitorSurroundings = {}) {
    super();
    this.#controller = new SloController(qosMonitor.parse(options), now);
    this.#logger = logger;
    this.#baseLimit = baseLimit;
  }

  /** Evaluates every `evaluation_interval_ms` until `stop`. */
  start(): void {
    this.#timer ??= setInterval(() => this.evaluate(), this.settings.evaluator.evaluation_interval_ms);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  get settings(): QosMonitorSettings {
    return this.#controller.settings;
  }

  getPolicies(): readonly SloPolicy[] {
    return this.settings.policy_store.policies;
  }

  /** @returns false when the value was refused: not finite, or below 0 */
  collectMetric({ metric, value }: CollectedMetric): boolean {
    if (!Number.isFinite(value) || value < 0) {
      this.#counts.refused++;
      return false;
    }
    if (metric === 'stream_count') this.#streams = value;
    else this.#controller.add(this.#sampleOf(metric, value));
    return true;
  }

  /** Judges every SLO now, and emits what came of it. */
  evaluate(): readonly SloVerdict[] {
    this.#counts.evaluations++;
    const { verdicts, records } = this.#controller.evaluate({ runningRequests: this.#streams, baseLimit: this.#baseLimit });
    for (const verdict of verdicts) this.#announce(verdict);
    for (const record of records) this.#announceAction(record);
    return verdicts;
  }

  getTelemetry(): QosTelemetry {
    const { ttft, errorRate } = this.#controller.evaluator.window;
    const { requests, errors, violations, remediations } = this.#counts;
    const [p50Ttft, p95Ttft, p99Ttft] = [50, 95, 99].map((p) => ttft.percentile(p));
    return { activeStreams: this.#streams ?? 0, totalRequests: requests, p50Ttft, p95Ttft, p99Ttft, errorRate, totalErrors: errors, violations, remediations };
  }

  getEvaluatorStats(): { totalEvaluations: number; totalViolations: number; policiesEnabled: number; refusedMetrics: number } {
    return { totalEvaluations: this.#counts.evaluations, totalViolations: this.#counts.violations, policiesEnabled: this.getPolicies().filter(({ enabled }) => enabled).length, refusedMetrics: this.#counts.refused };
  }

  getExecutorStats(): { totalExecutions: number; successRate: number; inCooldown: boolean; active: number } {
    const { executions, succeeded } = this.#counts;
    const last = this.#controller.state.records.at(-1);
    return { totalExecutions: executions, successRate: executions === 0 ? 1 : succeeded / executions, inCooldown: last?.rule === 'cooldown', active: this.#controller.leases.length };
  }

  #sampleOf(metric: Exclude<SloMetric, 'stream_count'>, value: number): RequestSample {
    if (metric === 'ttft') return { ...NOTHING, ttftMs: value };
    if (metric === 'throughput') return { ...NOTHING, tokens: Math.round(value) };
    this.#counts.requests++;
    if (metric === 'latency') return { ...NOTHING, outcome: 'ok', durationMs: value };
    if (value > 0) this.#counts.errors++;
    return { ...NOTHING, outcome: value > 0 ? 'failed' : 'ok' };
  }

  #announce({ policy, slo, value, threshold, severity, verdict }: SloVerdict): void {
    const key = `${policy} ${slo}`;
    const evaluation: SloEvaluation = { policyId: policy, sloName: slo, currentValue: value, threshold, severity, verdict };
    if (verdict === 'violated') {
      this.#counts.violations++;
      this.#violated.add(key);
      this.#logger?.warn(evaluation, 'SLO violated');
      this.emit('slo:violated', evaluation);
    } else if (verdict === 'ok' && this.#violated.delete(key)) this.emit('slo:recovered', evaluation);
  }

  #announceAction({ action, outcome, rule, reason, policy, to }: ActionRecord): void {
    const success = DONE.has(outcome);
    const result: RemediationResult = { action, success, reason, policyId: policy, outcome, rule, to };
    if (outcome === 'undone' || outcome === 'ran_out' || outcome === 'resolved') return void this.emit('remediation:undone', result);
    if (outcome === 'withheld') return;
    this.#counts.executions++;
    if (success) this.#counts.succeeded++;
    if (success) this.#counts.remediations++;
    this.#logger?.info(result, 'remediation executed');
    this.emit('remediation:executed', result);
  }
}
