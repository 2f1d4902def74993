import type { RuntimeFile } from '@mlx-serving/policy';
import { ServiceError } from '@mlx-serving/service-kit';
import type { PoolMember } from '../balancing/pool-member.ts';
import { errors } from '../errors.ts';
import type { RetryBudget } from '../failure/retry-budget.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { WorkerPool } from '../workers/worker-pool.ts';
import type { GenerationRecord } from './generation-record.ts';
import type { GenerationSink } from './generation-types.ts';
import { runAttempt } from './worker-attempt.ts';

export interface RunOptions {
  readonly pool: WorkerPool;
  readonly budget: RetryBudget;
  readonly settings: () => RuntimeFile['failure'];
  readonly metrics: GatewayMetrics;
}

/** Continuations of one request, so that a request that kills workers does not kill all of them. */
const MOST_CONTINUATIONS = 2;

/**
 * Runs a generation at a worker; once more at another one when the first was gone before the first token; and after
 * it, on another one from the tokens that were sent.
 * @throws the error of the last attempt, or the signal's reason
 */
export async function runAtWorkers(options: RunOptions, record: GenerationRecord, sink: GenerationSink, signal: AbortSignal): Promise<void> {
  // One that ended while it was given its place has no event left to hear of.
  signal.throwIfAborted();
  const { pool, budget, metrics } = options;
  const { prompt } = record;
  budget.onRequest();
  let member = pool.pick(prompt);
  if (!member) throw errors.NO_WORKER({}, { retryAfterMs: 1_000 });
  const tried: PoolMember[] = [];
  for (;;) {
    const failure = await attempt(member, prompt.cost, record, sink, signal);
    if (!failure) return;
    tried.push(member);
    if (signal.aborted || !mayGoOn(failure, record, tried, options)) throw failure;
    const hasBegun = record.sentTokenIds.length > 0;
    const next = pool.pick(prompt, (other) => !tried.includes(other) && (other.worker.continues || !hasBegun));
    // Where nobody else can take it, nothing is taken off the budget of those whom another worker can help.
    if (!next) throw failure;
    if (!budget.take()) {
      metrics.retriesRefused.inc();
      throw failure;
    }
    (hasBegun ? metrics.continuations : metrics.retries).inc();
    member = next;
  }
}

async function attempt(member: PoolMember, cost: number, record: GenerationRecord, sink: GenerationSink, signal: AbortSignal): Promise<ServiceError | undefined> {
  const place = member.begin(cost);
  try {
    await runAttempt(place, record, sink, signal);
    place.done();
    return undefined;
  } catch (thrown) {
    const failure = ServiceError.from(thrown);
    place.done(!signal.aborted && isFault(failure) ? failure : null);
    return failure;
  }
}

function mayGoOn(failure: ServiceError, record: GenerationRecord, tried: readonly PoolMember[], { settings }: RunOptions): boolean {
  if (!isGone(failure) && !isFull(failure)) return false;
  if (record.sentTokenIds.length === 0) return tried.length <= 1;
  return settings().continue_streams && tried.length <= MOST_CONTINUATIONS && tried.at(-1)?.worker.continues === true;
}

/** Whether another worker may do what this one could not: it was gone, stuck, draining or loading. */
function isGone({ code, reason }: ServiceError): boolean {
  return code === 'UNAVAILABLE' || reason === 'WORKER_PROTOCOL';
}

function isFull({ code, reason }: ServiceError): boolean {
  return code === 'RESOURCE_EXHAUSTED' && reason.startsWith('QUEUE_');
}

/** Whether the worker is to blame. One that drains or loads says so, and is not. */
function isFault({ code, reason }: ServiceError): boolean {
  return code === 'INTERNAL' || reason === 'WORKER_LOST' || reason === 'ENGINE_STOPPED';
}
