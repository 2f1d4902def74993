import { create } from '@bufbuild/protobuf';
import { type Handlers, type Inference, SamplingOptionsSchema } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import type { RuntimeFile } from '@mlx-serving/policy';
import { createAcceleratorHandlers } from '../accelerator/accelerator-handler.ts';
import type { AcceleratorService } from '../accelerator/accelerator-service.ts';
import { errors } from '../errors.ts';
import type { GenerateService } from '../generation/generate-service.ts';
import type { GenerationRequest } from '../generation/generation-types.ts';
import { readRequestId, readUserHeader } from '../http/http-context.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { ModelService } from '../models/model-service.ts';
import { type GenerateCall, InferenceSink } from './inference-sink.ts';

export interface InferenceHandlerOptions {
  readonly service: GenerateService;
  readonly models: ModelService;
  readonly accelerator: AcceleratorService;
  readonly limits: () => RuntimeFile['requests'];
  readonly metrics: GatewayMetrics;
}

/** The gRPC door: the same way as the HTTP door's, other defaults. */
export function createInferenceHandlers({ service, models, accelerator, limits, metrics }: InferenceHandlerOptions): Handlers<typeof Inference> {
  return {
    generate: async (call) => {
      const abort = new AbortController();
      call.once('cancelled', () => abort.abort(errors.CLIENT_GONE()));
      if (call.cancelled) abort.abort(errors.CLIENT_GONE());
      let answered = 'OK';
      try {
        await service.generate(toGeneration(call, limits()), new InferenceSink(call), abort);
      } catch (thrown) {
        answered = ServiceError.from(thrown).code;
        throw thrown;
      } finally {
        metrics.requests.inc({ route: 'grpc', status: answered });
      }
    },
    ...createAcceleratorHandlers(accelerator),
    listModels: async () => ({ models: await models.list() }),
  };
}

/** @throws INVALID_REQUEST when there is no input or too much of it */
function toGeneration(call: GenerateCall, { max_messages }: RuntimeFile['requests']): GenerationRequest {
  const { model, input, sampling = create(SamplingOptionsSchema), user, ttftHint } = call.request;
  if (input.case === undefined) throw errors.INVALID_REQUEST({ message: 'Send a prompt or a conversation.' }, { param: 'input' });
  if (input.case === 'conversation' && input.value.messages.length > max_messages) {
    throw errors.INVALID_REQUEST({ message: `The conversation has more than ${max_messages} messages.` }, { param: 'conversation' });
  }
  sampling.temperature ??= 0;
  const header = (name: string): string | undefined => call.metadata.get(name)[0]?.toString();
  return {
    requestId: readRequestId(header('x-request-id')),
    route: 'grpc',
    model,
    input,
    sampling,
    user: user || readUserHeader({ 'x-user-id': header('x-user-id') }),
    header,
    arrivedAt: performance.now(),
    ...(ttftHint ? { ttftHint } : {}),
  };
}
