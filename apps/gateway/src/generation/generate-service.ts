import type { Decision, StreamReport } from '@mlx-serving/contracts';
import type { RuntimeFile, Variant } from '@mlx-serving/policy';
import { type Logger, type PlainLines, plainLines, ServiceError } from '@mlx-serving/service-kit';
import type { AdmissionQueue } from '../admission/admission-queue.ts';
import { admitRequest } from '../admission/admit-request.ts';
import type { TrafficControl } from '../admission/traffic-control.ts';
import { decide, flagKeyOf } from '../decision/decide.ts';
import type { DecisionCounter } from '../decision/decision-counts.ts';
import type { FlagSnapshotStore } from '../decision/flag-snapshot-store.ts';
import type { RoutingStore } from '../decision/routing-store.ts';
import { errors } from '../errors.ts';
import { RetryBudget, type RetrySettings } from '../failure/retry-budget.ts';
import type { RecentContexts } from '../impact/recent-contexts.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { logFinished, measureFinished, toStreamReport } from '../reports/stream-report.ts';
import type { FlagTelemetry } from '../telemetry/flag-telemetry.ts';
import type { RequestTrace, RequestTraces } from '../telemetry/request-traces.ts';
import type { WorkerPool } from '../workers/worker-pool.ts';
import { announce } from './announce.ts';
import { GenerationRecord } from './generation-record.ts';
import type { GenerationRequest, GenerationSink } from './generation-types.ts';
import { runAtWorkers } from './run-at-workers.ts';
import { ShadowTraffic } from './shadow-traffic.ts';

export interface GenerateServiceOptions {
  readonly replicaId: string;
  readonly flags: FlagSnapshotStore;
  readonly routing: RoutingStore;
  readonly counts: DecisionCounter;
  readonly contexts: RecentContexts;
  readonly admission: AdmissionQueue;
  readonly control: Pick<TrafficControl, 'sheds'>;
  readonly pools: Record<Variant, WorkerPool>;
  readonly requestLimits: () => RuntimeFile['requests'];
  readonly failure: () => RuntimeFile['failure'];
  /** Called with the report of each finished request, and the key by which its flags were split. */
  readonly onReport: (report: StreamReport, flagKey: string) => void;
  /** Called with the report of each request that was repeated at the canary. */
  readonly onShadowReport: (report: StreamReport) => void;
  readonly telemetry: FlagTelemetry;
  readonly traces: RequestTraces;
  readonly metrics: GatewayMetrics;
  readonly logger: Logger;
}

/** How often a stop says what still runs. */
const DRAIN_REPORT_MS = 1_000;
const NO_HEADER = (): undefined => undefined;

/** The one way of a request, whichever door it came through: decision, admission, worker, report. */
export class GenerateService {
  readonly #options: GenerateServiceOptions;
  readonly #running = new Map<AbortController, Decision>();
  /** What waits for the canary or runs there, and takes it away from there. */
  readonly #atCanary = new Map<GenerationRecord, AbortController>();
  readonly #shadow: ShadowTraffic;
  /** A failing canary must not spend what the baseline has for its own failures. */
  readonly #budgets: Record<Variant, RetryBudget>;
  readonly #lines: PlainLines;
  #stopping = false;
  #onIdle: (() => void) | undefined;

  constructor(options: GenerateServiceOptions) {
    this.#options = options;
    this.#lines = plainLines(options.logger);
    this.#shadow = new ShadowTraffic({ ...options, pool: options.pools.canary, onReport: options.onShadowReport });
    options.routing.onTable = ({ enabled, rolloutPercentage, moveUnstarted }) => {
      if (moveUnstarted && (!enabled || rolloutPercentage === 0)) this.#moveUnstarted();
    };
    const settings = (): RetrySettings => ({ share: options.failure().retry_share, burst: options.failure().retry_burst });
    this.#budgets = { baseline: new RetryBudget(settings), canary: new RetryBudget(settings) };
  }

  /** How long a client of a stream may read nothing. */
  get writeStallMs(): number {
    return this.#options.requestLimits().write_stall_timeout_ms;
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  /**
   * Runs one generation into a sink. Aborting with a ServiceError ends it at once, wherever it is.
   * @throws ServiceError when it did not come to its end
   */
  async generate(request: GenerationRequest, sink: GenerationSink, abort: AbortController): Promise<void> {
    if (this.#stopping) throw errors.SHUTTING_DOWN();
    const trace = this.#options.traces.begin(request.header ?? NO_HEADER, request.route);
    const record = this.#recordOf(request, request.decision ?? this.#decide(request, trace), trace);
    this.#running.set(abort, record.decision);
    const timeout = Math.min(this.#options.requestLimits().timeout_ms, request.deadlineMs ?? Number.POSITIVE_INFINITY);
    record.deadlineAt = request.arrivedAt + timeout;
    const timer = setTimeout(() => abort.abort(errors.REQUEST_TIMEOUT({ timeout })), record.deadlineAt - performance.now());
    let failure: ServiceError | undefined;
    try {
      sink.decided(record.decision);
      await this.#admitAndRun(record, sink, abort.signal);
    } catch (thrown) {
      failure = ServiceError.from(thrown);
      throw failure;
    } finally {
      clearTimeout(timer);
      this.#running.delete(abort);
      if (this.#running.size === 0) this.#onIdle?.();
      this.#finish(record, failure);
    }
  }

  /** Refuses what is new, lets what runs or waits end for `graceMs`, then ends it. @returns how many it ended */
  async drain(graceMs: number): Promise<number> {
    this.#stopping = true;
    this.#shadow.stop();
    const { logger, metrics } = this.#options;
    logger.info({ running: this.#running.size, graceMs }, 'draining');
    let cut = 0;
    if (this.#running.size > 0) {
      const idle = new Promise<void>((resolve) => (this.#onIdle = resolve));
      const report = setInterval(() => logger.info({ running: this.#running.size }, 'still draining'), DRAIN_REPORT_MS);
      const force = setTimeout(() => (cut = this.#endAll()), graceMs);
      await idle;
      clearTimeout(force);
      clearInterval(report);
    }
    metrics.cutStreams.inc(cut);
    logger.info({ cut }, 'drained');
    return cut;
  }

  #endAll(): number {
    const running = [...this.#running.keys()];
    for (const abort of running) abort.abort(errors.SHUTTING_DOWN());
    return running.length;
  }

  /** Ends what runs under one of these flags (SPEC F19). */
  abortUnder(flags: ReadonlySet<string>): void {
    for (const [abort, { enabledFlags }] of this.#running) {
      if (enabledFlags.some((name) => flags.has(name))) abort.abort(errors.FEATURE_KILLED());
    }
  }

  #decide(request: GenerationRequest, trace: RequestTrace | undefined): Decision {
    const { flags, routing, pools, counts, contexts, telemetry } = this.#options;
    const canaryAvailable = pools.canary.serving.length > 0;
    const sample = telemetry.begin(trace?.context);
    const decision = decide(flags.state, { table: routing.table, canaryAvailable, leaseEnded: routing.leaseEnded, places: routing.places }, { ...request, draw: Math.random() }, sample?.observe);
    sample?.done(request.requestId, flags);
    if (request.user !== undefined) contexts.add(request.user, { user_id: request.user, model: request.model });
    counts.addAll(flags.state.flags.names, decision.enabledFlags);
    return decision;
  }

  /** A canary may be another model. */
  #recordOf(request: GenerationRequest, decision: Decision, trace: RequestTrace | undefined): GenerationRecord {
    const model = decision.variant === 'canary' ? this.#options.routing.table?.canaryModel : undefined;
    return new GenerationRecord(request, decision, trace, model || request.model);
  }

  #poolOf({ decision }: GenerationRecord): WorkerPool {
    return this.#options.pools[decision.variant as Variant];
  }

  /** At the workers of its pool, and accounts for retries. */
  #run(record: GenerationRecord, sink: GenerationSink, signal: AbortSignal): Promise<void> {
    const { failure, metrics } = this.#options;
    return runAtWorkers({ pool: this.#poolOf(record), budget: this.#budgets[record.decision.variant as Variant], settings: failure, metrics }, record, sink, signal);
  }

  #admitAndRun(record: GenerationRecord, sink: GenerationSink, signal: AbortSignal): Promise<void> {
    const isCanary = record.decision.variant === 'canary';
    return isCanary ? this.#admitToCanary(record, sink, signal) : this.#withSeat(record, sink, signal, () => this.#run(record, sink, signal));
  }

  /** It can be taken away from the canary from now on, while it waits for its place too. */
  async #admitToCanary(record: GenerationRecord, sink: GenerationSink, signal: AbortSignal): Promise<void> {
    const move = new AbortController();
    this.#atCanary.set(record, move);
    try {
      await this.#withSeat(record, sink, signal, () => this.#runAtCanary(record, sink, signal, move.signal));
    } finally {
      this.#atCanary.delete(record);
    }
  }

  async #withSeat(record: GenerationRecord, sink: GenerationSink, signal: AbortSignal, run: () => Promise<void>): Promise<void> {
    const seat = await admitRequest({ ...this.#options, whileQueued: (one) => announce(this.#poolOf(one), one) }, record, sink, signal);
    record.queuedMs = seat.queuedMs;
    try {
      await run();
      sink.finished(record.result, record.model);
    } finally {
      seat.release();
    }
  }

  /** At the canary; and anew at the baseline when the canary is taken back before the first token. */
  async #runAtCanary(record: GenerationRecord, sink: GenerationSink, signal: AbortSignal, move: AbortSignal): Promise<void> {
    try {
      move.throwIfAborted();
      return await this.#run(record, sink, AbortSignal.any([signal, move]));
    } catch (error) {
      if (!move.aborted || signal.aborted || record.ttftMs !== undefined) throw error;
    }
    this.#options.metrics.movedRequests.inc();
    record.moveToBaseline();
    sink.decided(record.decision);
    await this.#run(record, sink, signal);
  }

  #moveUnstarted(): void {
    for (const [record, move] of this.#atCanary) if (record.ttftMs === undefined) move.abort(errors.CANARY_TAKEN_BACK());
  }

  #finish(record: GenerationRecord, failure: ServiceError | undefined): void {
    const report = toStreamReport(record, failure, this.#options.replicaId);
    measureFinished(report, this.#options.metrics);
    logFinished(record, report, failure, { lines: this.#lines, logger: this.#options.logger });
    record.trace?.finished(report, record.stages);
    this.#options.onReport(report, flagKeyOf(record.request));
    if (!failure) this.#shadow.consider(record);
    record.request.onUsage?.(record);
  }
}
