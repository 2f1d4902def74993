import { ServiceError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { GenerateService } from '../generation/generate-service.ts';
import type { GenerationRequest } from '../generation/generation-types.ts';
import type { HttpContext } from '../http/http-context.ts';
import type { CreateAnswerFormat } from './answer-format.ts';
import { StreamSink } from './stream-sink.ts';
import { WholeSink } from './whole-sink.ts';

export interface StreamParameters {
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: { readonly include_usage?: boolean | null | undefined } | null | undefined;
}

/** Runs one generation and answers it, as a stream or whole. An error before the first token is thrown. */
export async function answerRequest(
  service: GenerateService,
  context: HttpContext,
  request: GenerationRequest,
  { stream, stream_options }: StreamParameters,
  createFormat: CreateAnswerFormat,
): Promise<void> {
  if (stream_options && !stream) {
    throw errors.INVALID_REQUEST({ message: "The 'stream_options' parameter is only allowed when 'stream' is enabled." }, { param: 'stream_options' });
  }
  const { headers } = context.request;
  const routed: GenerationRequest = { ...request, header: (name) => [headers[name]].flat()[0] };
  if (!stream) return service.generate(routed, new WholeSink(context.response, createFormat), context.abort);
  const sink = new StreamSink(context.response, createFormat, stream_options?.include_usage === true);
  try {
    await service.generate(routed, sink, context.abort);
  } catch (thrown) {
    if (!context.response.headersSent || context.response.destroyed) throw thrown;
    sink.failed(ServiceError.from(thrown));
  }
}
