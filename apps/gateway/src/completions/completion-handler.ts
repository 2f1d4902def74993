import type { RuntimeFile } from '@mlx-serving/policy';
import type { GenerateService } from '../generation/generate-service.ts';
import type { GenerationRequest } from '../generation/generation-types.ts';
import { type HttpContext, readUserHeader } from '../http/http-context.ts';
import { readJsonBody } from '../http/read-json-body.ts';
import { answerRequest } from '../openai/answer-request.ts';
import { toSampling } from '../openai/common-parameters.ts';
import { parseRequest } from '../openai/parse-request.ts';
import { createCompletionFormat } from './completion-format.ts';
import { type CompletionParameters, completionParameters } from './completion-parameters.ts';

/** OpenAI's default for this endpoint. */
const DEFAULT_MAX_TOKENS = 16;

/** POST /v1/completions. */
export function createCompletionHandler(service: GenerateService, limits: () => RuntimeFile['requests']) {
  return async (context: HttpContext): Promise<void> => {
    const parameters = parseRequest(completionParameters, await readJsonBody(context, limits().max_body_bytes));
    await answerRequest(service, context, toGeneration(parameters, context), parameters, createCompletionFormat);
  };
}

function toGeneration(parameters: CompletionParameters, context: HttpContext): GenerationRequest {
  return {
    requestId: context.requestId,
    route: 'completions',
    model: parameters.model,
    input: { case: 'prompt', value: parameters.prompt },
    sampling: toSampling(parameters, parameters.max_tokens ?? DEFAULT_MAX_TOKENS),
    user: parameters.user || readUserHeader(context.request.headers),
    arrivedAt: context.arrivedAt,
  };
}
