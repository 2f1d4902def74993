import type { IncomingHttpHeaders } from 'node:http';
import { type Handlers, type Inference, Priority } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import type { RuntimeFile } from '@mlx-serving/policy';
import { createAcceleratorHandlers } from '../accelerator/accelerator-handler.ts';
import type { AcceleratorService } from '../accelerator/accelerator-service.ts';
import { errors } from '../errors.ts';
import type { GenerateService } from '../generation/generate-service.ts';
import type { GenerationRequest } from '../generation/generation-types.ts';
import { readRequestId } from '../http/http-context.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { ModelService } from '../models/model-service.ts';
import { charge } from '../openai/answer-plan.ts';
import { runChoices, stallOf } from '../openai/answer-request.ts';
import type { Caller } from '../tenants/caller.ts';
import type { ReadCaller } from '../tenants/caller-service.ts';
import { type InferenceRequest, planInference } from './inference-plan.ts';
import { type GenerateCall, InferenceSink } from './inference-sink.ts';

export interface InferenceHandlerOptions {
  readonly service: GenerateService;
  readonly models: ModelService;
  readonly accelerator: AcceleratorService;
  readonly limits: () => RuntimeFile['requests'];
  readonly readCaller: ReadCaller;
  readonly metrics: GatewayMetrics;
}

/** The gRPC door: the same way as the HTTP door's, other defaults. */
export function createInferenceHandlers({ service, models, accelerator, limits, readCaller, metrics }: InferenceHandlerOptions): Handlers<typeof Inference> {
  return {
    generate: async (call) => {
      const abort = new AbortController();
      call.once('cancelled', () => abort.abort(errors.CLIENT_GONE()));
      if (call.cancelled) abort.abort(errors.CLIENT_GONE());
      let answered = 'OK';
      try {
        const headers = headersOf(call);
        const caller = readCaller({ headers })(true);
        const { requests, forced } = planInference(call.request, limits());
        caller.admit();
        const sink = new InferenceSink(call, requests.length, forced, stallOf(service, abort));
        await runChoices(service, inNameOf(caller, call, headers, requests), (choice) => sink.choice(choice), abort).finally(() => sink.release());
      } catch (thrown) {
        answered = ServiceError.from(thrown).code;
        throw thrown;
      } finally {
        metrics.requests.inc({ route: 'grpc', status: answered });
      }
    },
    ...createAcceleratorHandlers(accelerator, (call) => readCaller({ headers: headersOf(call) })),
    listModels: async (_request, call) => {
      readCaller({ headers: headersOf(call) });
      return { models: await models.list() };
    },
  };
}

/** The generations of a call, in the name of its caller. */
function inNameOf(caller: Caller, call: GenerateCall, headers: IncomingHttpHeaders, requests: readonly InferenceRequest[]): GenerationRequest[] {
  const { user, ttftHint, priority } = call.request;
  const asked = [priority, ttftHint?.priority ?? Priority.UNSPECIFIED, caller.priority];
  const name = caller.user(user || undefined);
  const common = {
    requestId: readRequestId(headers['x-request-id']),
    route: 'grpc' as const,
    user: name,
    routingKey: caller.routingKey(user || undefined),
    tenant: caller.tenant,
    // A greater number is a lower class, and one that is none counts as the lowest.
    priority: Math.min(Priority.BACKGROUND, Math.max(...asked)),
    deadlineMs: caller.deadlineMs ?? timeLeft(call),
    header: (header: string) => [headers[header]].flat()[0],
    arrivedAt: performance.now(),
    ...(ttftHint ? { ttftHint } : {}),
  };
  return requests.map((request, choice) => ({ ...common, ...request, choice, onUsage: charge(caller, choice === 0) }));
}

/** The metadata that is read, as headers. */
function headersOf(call: Pick<GenerateCall, 'metadata'>): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(call.metadata.getMap()).map(([name, value]) => [name, value.toString()]));
}

/** Milliseconds until the call's deadline, if it has one. */
function timeLeft(call: Pick<GenerateCall, 'getDeadline'>): number | undefined {
  const deadline = call.getDeadline();
  const at = deadline instanceof Date ? deadline.getTime() : deadline;
  return Number.isFinite(at) ? Math.max(1, at - Date.now()) : undefined;
}
