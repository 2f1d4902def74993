import type { Decision } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { ExplainService } from '../explain/explain-service.ts';
import type { WriteStall } from '../generation/back-pressure.ts';
import type { GenerateService } from '../generation/generate-service.ts';
import type { GenerationRequest, GenerationSink } from '../generation/generation-types.ts';
import type { HttpContext } from '../http/http-context.ts';
import type { Caller } from '../tenants/caller.ts';
import { type AnswerPlan, toRequests } from './answer-plan.ts';
import { StreamAnswer } from './stream-answer.ts';
import { WholeAnswer } from './whole-answer.ts';

export interface StreamParameters {
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: { readonly include_usage?: boolean | null | undefined } | null | undefined;
}

/** @throws INVALID_REQUEST when options of a stream come without one */
export function assertStreamOptions({ stream, stream_options }: StreamParameters): void {
  if (!stream_options || stream) return;
  throw errors.INVALID_REQUEST({ message: "The 'stream_options' parameter is only allowed when 'stream' is enabled." }, { param: 'stream_options' });
}

/** @throws INVALID_REQUEST when there are more answers to one request than the configuration allows */
export function assertChoices(count: number, most: number, param: string): void {
  if (count > most) throw errors.INVALID_REQUEST({ message: `The request asks for ${count} answers; at most ${most} are given.` }, { param });
}

/** Answers one HTTP request as it is planned. */
export type AnswerPlanned = (context: HttpContext, plan: AnswerPlan, caller: Caller) => Promise<void>;

/** Runs what is planned, or explains it to an operator who asks. */
export function createAnswerPlanned(service: GenerateService, explain: ExplainService): AnswerPlanned {
  return async (context, plan, caller) => {
    if (!explain.wants(context)) return answerRequest(service, context, plan, caller);
    const [first] = toRequests(plan, context, caller);
    if (first) await explain.answer(context, first);
  };
}

/** Runs what is planned and answers it, as a stream or whole. An error before the first token is thrown. */
async function answerRequest(service: GenerateService, context: HttpContext, plan: AnswerPlan, caller: Caller): Promise<void> {
  caller.admit();
  const requests = toRequests(plan, context, caller);
  const answer = plan.stream ? new StreamAnswer(context.response, plan, stallOf(service, context.abort)) : new WholeAnswer(context.response, plan);
  try {
    await runChoices(service, requests, (choice) => answer.sink(choice), context.abort);
    answer.finish();
  } catch (thrown) {
    // Nobody reads what would be said to a client that stalls: its connection is cut.
    if (!context.response.headersSent || context.response.destroyed || isStalled(thrown)) throw thrown;
    answer.failed(ServiceError.from(thrown));
  } finally {
    answer.release();
  }
}

/** Ends the answers to a client that reads nothing for too long. */
export function stallOf(service: GenerateService, abort: AbortController): WriteStall {
  const afterMs = service.writeStallMs;
  return { afterMs, onStall: () => abort.abort(errors.CLIENT_STALLED({ limit: afterMs })) };
}

function isStalled(thrown: unknown): boolean {
  return thrown instanceof ServiceError && thrown.reason === 'CLIENT_STALLED';
}

/** Runs the answers to one request side by side, under one decision. One that fails ends them all. */
export async function runChoices(service: GenerateService, requests: readonly GenerationRequest[], sinkOf: (choice: number) => GenerationSink, abort: AbortController): Promise<void> {
  const [first, ...others] = requests;
  if (!first) return;
  if (others.length === 0) return service.generate(first, sinkOf(0), abort);
  // Each has a controller of its own: the service follows what runs by it.
  const controllers = requests.map(() => new AbortController());
  const abortAll = (): void => controllers.forEach((controller) => controller.abort(abort.signal.reason));
  if (abort.signal.aborted) abortAll();
  abort.signal.addEventListener('abort', abortAll, { once: true });
  let decision: Decision | undefined;
  const run = (request: GenerationRequest, choice: number): Promise<void> => {
    const sink = sinkOf(choice);
    const deciding: GenerationSink = {
      decided: (made) => sink.decided((decision = made)),
      tokens: (...event) => sink.tokens(...event),
      finished: (...event) => sink.finished(...event),
    };
    return service.generate(decision ? { ...request, decision } : request, deciding, controllers[choice]!).catch((thrown: unknown) => {
      controllers.forEach((controller) => controller.abort(thrown));
      throw thrown;
    });
  };
  try {
    // The first is decided before `generate` waits for anything, and the others take over its decision.
    const results = await Promise.allSettled(requests.map(run));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  } finally {
    abort.signal.removeEventListener('abort', abortAll);
  }
}
