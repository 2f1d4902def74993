import type { GenerationRecord } from '../generation/generation-record.ts';
import type { GenerationSink } from '../generation/generation-types.ts';
import { errors } from '../errors.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { AdmissionQueue, Seat } from './admission-queue.ts';
import { classOf, className, type TrafficControl } from './traffic-control.ts';

export interface AdmissionOptions {
  readonly admission: AdmissionQueue;
  readonly control: Pick<TrafficControl, 'sheds'>;
  readonly metrics: GatewayMetrics;
  /** Called when a request has to wait: what can be done for it meanwhile. @returns ends that */
  readonly whileQueued: (record: GenerationRecord) => () => void;
}

/**
 * Gives a request its place at the workers, at once or when its turn has come.
 * @throws LOAD_SHED, QUEUE_FULL or DEADLINE_UNREACHABLE at once when it will get none, or the signal's reason
 */
export async function admitRequest(options: AdmissionOptions, record: GenerationRecord, sink: GenerationSink, signal: AbortSignal): Promise<Seat> {
  const { admission, control, metrics, whileQueued } = options;
  const { request, prompt, deadlineAt } = record;
  const priority = classOf(request.priority);
  if (control.sheds(priority)) {
    const { retryAfterMs } = admission;
    throw errors.LOAD_SHED({ seconds: Math.ceil(retryAfterMs / 1_000) }, { retryAfterMs });
  }
  let stop: (() => void) | undefined;
  const onQueued = (position: () => number): void => {
    sink.queued?.(position);
    // Behind a longer queue its turn is far, and the worker has no time to spare: to announce it there costs others (measured).
    if (position() >= admission.placesFor(priority)) return;
    stop = whileQueued(record);
  };
  try {
    const seat = await admission.acquire(signal, { priority, tenant: request.tenant ?? '', cost: prompt.cost, deadlineMs: deadlineAt - performance.now(), onQueued });
    metrics.queueWait.observe({ priority: className(priority) }, seat.queuedMs / 1_000);
    return seat;
  } finally {
    stop?.();
  }
}
