import { create } from '@bufbuild/protobuf';
import { type GenerationFinished, Priority, SamplingOptionsSchema, TtftHintSchema, type WorkerGenerateRequest, type WorkerGenerateResponse } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import type { Attempt } from '../balancing/pool-member.ts';
import { errors } from '../errors.ts';
import type { GenerationRecord } from './generation-record.ts';
import type { Flow, GenerationSink } from './generation-types.ts';

const DEADLINE_SLACK_MS = 100;

/** The worker, and a place for what ends the attempt besides its signal. */
export type AttemptPlace = Pick<Attempt, 'worker' | 'onStuck'>;

/**
 * Runs one generation at one worker, to its end. A signal that aborts cancels the worker's call at once.
 * @throws the signal's reason, or the worker's error as a ServiceError
 */
export async function runAttempt(place: AttemptPlace, record: GenerationRecord, sink: GenerationSink, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  record.worker = place.worker.address;
  const finished = await receive(place, record, sink, signal);
  record.finishReason = finished.finishReason;
  record.promptTokens = finished.usage?.promptTokens ?? record.promptTokens;
  record.completionTokens = finished.usage?.completionTokens ?? record.completionTokens;
  record.cachedPromptTokens = finished.usage?.cachedPromptTokens ?? 0;
  record.toolCalls = finished.toolCalls;
  record.stages = finished.stages;
}

/** The request as a worker takes it; of an answer that has begun, with what was sent. */
export function workerRequest(record: GenerationRecord): WorkerGenerateRequest {
  const { request, decision, sentTokenIds } = record;
  const { requestId, choice = 0, model, input, sampling, priority, tenant, ttftHint } = request;
  const message: WorkerGenerateRequest = {
    $typeName: 'mlx_serving.v1.WorkerGenerateRequest',
    requestId: choice === 0 ? requestId : `${requestId}/${choice}`,
    model,
    input,
    sampling: create(SamplingOptionsSchema, sampling),
    enabledFlags: decision.enabledFlags,
    priority: priority ?? Priority.UNSPECIFIED,
    tenant: tenant ?? '',
    resumeTokenIds: [],
  };
  if (sentTokenIds.length > 0) {
    message.resumeTokenIds = sentTokenIds;
    message.model = record.model;
  }
  if (ttftHint) message.ttftHint = create(TtftHintSchema, ttftHint);
  return message;
}

function receive(place: AttemptPlace, record: GenerationRecord, sink: GenerationSink, signal: AbortSignal): Promise<GenerationFinished> {
  return new Promise<GenerationFinished>((resolve, reject) => {
    const flow: Flow = { pause: () => call.pause(), resume: () => call.resume() };
    let over = false;
    const settle = (act: () => void): void => {
      if (over) return;
      over = true;
      signal.removeEventListener('abort', cancel);
      act();
    };
    const end = (reason: Error): void => {
      call.cancel();
      settle(() => reject(reason));
    };
    const cancel = (): void => end(signal.reason as Error);
    const response = (message: WorkerGenerateResponse): void => {
      try {
        if (message.event.case === 'finished') {
          const finished = message.event.value;
          settle(() => resolve(finished));
        } else take(message, record, sink, flow);
      } catch (error) {
        end(ServiceError.from(error));
      }
    };
    const ended = (error?: unknown): void => settle(() => reject(error === undefined ? errors.WORKER_PROTOCOL() : fromWorker(error)));
    const call = place.worker.generate(workerRequest(record), { response, ended }, { timeoutMs: timeLeft(record), traceparent: record.trace?.traceparent });
    place.onStuck = end;
    signal.addEventListener('abort', cancel, { once: true });
  });
}

function take(response: WorkerGenerateResponse, record: GenerationRecord, sink: GenerationSink, flow: Flow): void {
  if (response.event.case === 'accepted') {
    record.model = response.event.value.model || record.model;
    record.promptTokens = response.event.value.promptTokens;
  } else if (response.event.case === 'chunk' && response.event.value.tokens.length > 0) {
    sink.tokens(response.event.value.tokens, record.model, flow);
    for (const { id } of response.event.value.tokens) record.sentTokenIds.push(id);
    record.completionTokens += response.event.value.tokens.length;
    record.shape.add(response.event.value.tokens, performance.now());
    record.ttftMs ??= record.durationMs;
  }
}

/** What the worker is given: a little more than this gateway waits, which thus is the first to speak. */
function timeLeft({ deadlineAt }: GenerationRecord): number {
  return Math.max(1, Math.ceil(deadlineAt - performance.now())) + DEADLINE_SLACK_MS;
}

/** A call that the transport ended, and not the worker, is a worker that is gone: the gateway itself did not cancel. */
function fromWorker(thrown: unknown): ServiceError {
  const error = ServiceError.from(thrown);
  if (error.code === 'DEADLINE_EXCEEDED') return errors.WORKER_TIMEOUT({}, { cause: thrown });
  const isTransport = error.reason === error.code;
  return isTransport && (error.code === 'UNAVAILABLE' || error.code === 'CANCELLED') ? errors.WORKER_LOST({}, { cause: thrown }) : error;
}
