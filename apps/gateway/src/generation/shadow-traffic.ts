import { create } from '@bufbuild/protobuf';
import { DecisionSchema, Priority, type StreamReport } from '@mlx-serving/contracts';
import { FINE_BUCKETS, isInRollout } from '@mlx-serving/hashing';
import type { RuntimeFile } from '@mlx-serving/policy';
import { ServiceError } from '@mlx-serving/service-kit';
import { promptShape } from '../balancing/prefix-keys.ts';
import type { RoutingStore } from '../decision/routing-store.ts';
import { errors } from '../errors.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { toStreamReport } from '../reports/stream-report.ts';
import type { WorkerPool } from '../workers/worker-pool.ts';
import { GenerationRecord } from './generation-record.ts';
import type { GenerationRequest, GenerationSink } from './generation-types.ts';
import { runAttempt } from './worker-attempt.ts';

export interface ShadowTrafficOptions {
  readonly replicaId: string;
  readonly routing: RoutingStore;
  readonly pool: WorkerPool;
  readonly requestLimits: () => RuntimeFile['requests'];
  /** Called with the report of each repeated request. */
  readonly onReport: (report: StreamReport) => void;
  readonly metrics: GatewayMetrics;
  /** A number of at least 0 and below 1. */
  readonly draw?: () => number;
}

const discarded: GenerationSink = { decided: () => undefined, tokens: () => undefined, finished: () => undefined };

/**
 * Repeats a share of the answered requests at the canary and discards the answers (SPEC C1). It begins when the user has
 * the whole answer, waits for nothing and nobody waits for it: beyond the cap a request is left out, never queued.
 */
export class ShadowTraffic {
  readonly #options: ShadowTrafficOptions;
  readonly #running = new Set<AbortController>();

  constructor(options: ShadowTrafficOptions) {
    this.#options = options;
  }

  /** Takes a look at a request that the baseline has answered. */
  consider(answered: GenerationRecord): void {
    const { routing, metrics, draw = Math.random } = this.#options;
    const { table } = routing;
    if (!table?.enabled || table.shadowPercentage <= 0 || answered.decision.variant !== 'baseline' || routing.leaseEnded) return;
    if (!isInRollout(Math.floor(draw() * FINE_BUCKETS), table.shadowPercentage)) return;
    if (this.#running.size >= Math.max(1, table.shadowConcurrency)) return metrics.shadowRequests.inc({ outcome: 'left_out' });
    void this.#repeat(answered, table.canaryModel);
  }

  stop(): void {
    for (const abort of this.#running) abort.abort(errors.SHUTTING_DOWN());
  }

  async #repeat(answered: GenerationRecord, canaryModel: string): Promise<void> {
    const { pool, requestLimits, replicaId, onReport, metrics } = this.#options;
    const worker = pool.pick(promptShape(answered.request))?.worker;
    if (!worker) return metrics.shadowRequests.inc({ outcome: 'left_out' });
    const { request, decision } = answered;
    const model = canaryModel || request.model;
    const repeated = { ...request, requestId: `${request.requestId}/shadow`, model, priority: Priority.BACKGROUND, arrivedAt: performance.now() };
    const record = new GenerationRecord(repeated, create(DecisionSchema, { ...decision, variant: 'canary', variantReason: 'SHADOW' }));
    const abort = new AbortController();
    this.#running.add(abort);
    const timeout = requestLimits().timeout_ms;
    record.deadlineAt = repeated.arrivedAt + timeout;
    const timer = setTimeout(() => abort.abort(errors.REQUEST_TIMEOUT({ timeout })), timeout);
    let failure: ServiceError | undefined;
    await runAttempt({ worker, onStuck: () => undefined }, record, discarded, abort.signal).catch((thrown: unknown) => (failure = ServiceError.from(thrown)));
    clearTimeout(timer);
    this.#running.delete(abort);
    const report = toStreamReport(record, failure, replicaId);
    if (!failure && isRepeatable(request)) report.sameOutput = record.shape.fingerprint === answered.shape.fingerprint;
    metrics.shadowRequests.inc({ outcome: failure ? 'failed' : report.sameOutput === false ? 'different' : 'ok' });
    onReport(report);
  }
}

/** Whether the same model gives the same tokens once more. */
function isRepeatable({ sampling: { temperature, seed } }: GenerationRequest): boolean {
  return temperature === 0 || seed !== undefined;
}
