import { create } from '@bufbuild/protobuf';
import { ConversationSchema } from '@mlx-serving/contracts';
import type { RuntimeFile } from '@mlx-serving/policy';
import { errors } from '../errors.ts';
import type { GenerateService } from '../generation/generate-service.ts';
import type { GenerationRequest } from '../generation/generation-types.ts';
import { type HttpContext, readUserHeader } from '../http/http-context.ts';
import { readJsonBody } from '../http/read-json-body.ts';
import { answerRequest } from '../openai/answer-request.ts';
import { toSampling } from '../openai/common-parameters.ts';
import { parseRequest } from '../openai/parse-request.ts';
import { createChatFormat } from './chat-format.ts';
import { type ChatParameters, chatParameters } from './chat-parameters.ts';

type RequestLimits = RuntimeFile['requests'];

/** POST /v1/chat/completions. */
export function createChatHandler(service: GenerateService, limits: () => RequestLimits) {
  return async (context: HttpContext): Promise<void> => {
    const { max_body_bytes, max_messages } = limits();
    const parameters = parseRequest(chatParameters, await readJsonBody(context, max_body_bytes));
    if (parameters.messages.length > max_messages) {
      throw errors.INVALID_REQUEST({ message: `'messages' has ${parameters.messages.length} messages; at most ${max_messages} are taken.` }, { param: 'messages' });
    }
    await answerRequest(service, context, toGeneration(parameters, context), parameters, createChatFormat);
  };
}

function toGeneration(parameters: ChatParameters, context: HttpContext): GenerationRequest {
  const messages = parameters.messages.map(({ role, content }) => ({ role: role === 'developer' ? 'system' : role, content }));
  return {
    requestId: context.requestId,
    route: 'chat',
    model: parameters.model,
    input: { case: 'conversation', value: create(ConversationSchema, { messages }) },
    sampling: toSampling(parameters, parameters.max_completion_tokens ?? parameters.max_tokens),
    user: parameters.user || readUserHeader(context.request.headers),
    arrivedAt: context.arrivedAt,
  };
}
