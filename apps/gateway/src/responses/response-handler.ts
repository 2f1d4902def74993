import { create } from '@bufbuild/protobuf';
import { ConversationSchema } from '@mlx-serving/contracts';
import type { RuntimeFile } from '@mlx-serving/policy';
import { planTools, type ToolPlan } from '../chat/chat-tools.ts';
import { errors } from '../errors.ts';
import { callerHeaders, type HttpContext } from '../http/http-context.ts';
import { readJsonBody } from '../http/read-json-body.ts';
import type { AnswerPlan } from '../openai/answer-plan.ts';
import type { AnswerPlanned } from '../openai/answer-request.ts';
import { parseRequest } from '../openai/parse-request.ts';
import { seeded, toSampling } from '../openai/sampling.ts';
import type { ReadCaller } from '../tenants/caller-service.ts';
import { createResponseFormat } from './response-format.ts';
import { toTurns } from './response-input.ts';
import { type ResponseParameters, responseParameters } from './response-parameters.ts';

/** POST /v1/responses. */
export function createResponseHandler(answer: AnswerPlanned, limits: () => RuntimeFile['requests'], readCaller: ReadCaller) {
  return async (context: HttpContext): Promise<void> => {
    const caller = readCaller(callerHeaders(context));
    const parameters = parseRequest(responseParameters, await readJsonBody(context, limits()));
    const plan = planResponse(parameters, limits().max_messages);
    await answer(context, plan, caller(plan.stream));
  };
}

/** @throws INVALID_REQUEST when the parameters do not go together */
function planResponse(parameters: ResponseParameters, maxMessages: number): AnswerPlan {
  const { input, instructions, text, include, top_logprobs } = parameters;
  if (Array.isArray(input) && input.length > maxMessages) throw errors.INVALID_REQUEST({ message: `'input' has ${input.length} items; at most ${maxMessages} are taken.` }, { param: 'input' });
  const { toolsJson, forced, parallel } = toolsOf(parameters);
  const topLogprobs = top_logprobs ?? (include?.length ? 0 : undefined);
  const sampling = toSampling(parameters, { maxTokens: parameters.max_output_tokens, topLogprobs, jsonSchema: forced?.jsonSchema ?? schemaOf(text) });
  const conversation = create(ConversationSchema, { messages: toTurns(input, instructions), toolsJson: [...toolsJson] });
  return {
    route: 'responses',
    model: parameters.model,
    user: parameters.user || undefined,
    choices: [{ input: { case: 'conversation', value: conversation }, sampling: seeded(sampling, parameters.seed, 0) }],
    choicesPerPrompt: 1,
    stream: parameters.stream === true,
    format: createResponseFormat({ asked: parameters, topLogprobs, forced, parallel }),
  };
}

function toolsOf({ tools, tool_choice, parallel_tool_calls }: ResponseParameters): ToolPlan {
  const choice = typeof tool_choice === 'object' && tool_choice !== null ? tool_choice.name : (tool_choice ?? 'auto');
  // What says nothing of the function itself is not shown to the model.
  const definitions = (tools ?? []).map(({ type: _type, async: _async, defer_loading: _defer, allowed_callers: _callers, output_schema: _output, parameters: schema, ...definition }) => ({ ...definition, parameters: schema ?? undefined }));
  return planTools(definitions, choice, parallel_tool_calls !== false);
}

function schemaOf(text: ResponseParameters['text']): string | undefined {
  const format = text?.format;
  if (!format || format.type === 'text') return undefined;
  return format.type === 'json_object' ? '{"type":"object"}' : JSON.stringify(format.schema);
}
