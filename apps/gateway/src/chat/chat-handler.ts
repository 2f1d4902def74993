import type { Conversation } from '@mlx-serving/contracts';
import type { RuntimeFile } from '@mlx-serving/policy';
import { errors } from '../errors.ts';
import { callerHeaders, type HttpContext } from '../http/http-context.ts';
import { readJsonBody } from '../http/read-json-body.ts';
import type { AnswerPlan } from '../openai/answer-plan.ts';
import { type AnswerPlanned, assertChoices, assertStreamOptions } from '../openai/answer-request.ts';
import { parseRequest } from '../openai/parse-request.ts';
import { schemaOf } from '../openai/response-format.ts';
import { seeded, toSampling } from '../openai/sampling.ts';
import type { ReadCaller } from '../tenants/caller-service.ts';
import { createChatFormat } from './chat-format.ts';
import { toTurn } from './chat-message.ts';
import { type ChatParameters, chatParameters } from './chat-parameters.ts';
import { planTools, type ToolPlan } from './chat-tools.ts';
import { plainChat } from './plain-chat.ts';

type RequestLimits = RuntimeFile['requests'];

/** POST /v1/chat/completions. */
export function createChatHandler(answer: AnswerPlanned, limits: () => RequestLimits, readCaller: ReadCaller) {
  return async (context: HttpContext): Promise<void> => {
    const caller = readCaller(callerHeaders(context));
    const body = await readJsonBody(context, limits());
    const parameters = plainChat(body) ?? parseRequest(chatParameters, body);
    const plan = planChat(parameters, limits());
    await answer(context, plan, caller(plan.stream));
  };
}

function assertMessages({ messages }: ChatParameters, most: number): void {
  if (messages.length <= most) return;
  throw errors.INVALID_REQUEST({ message: `'messages' has ${messages.length} messages; at most ${most} are taken.` }, { param: 'messages' });
}

/** @throws INVALID_REQUEST when the parameters do not go together */
function planChat(parameters: ChatParameters, limits: RequestLimits): AnswerPlan {
  assertTogether(parameters, limits);
  const { logprobs, top_logprobs, seed, stream, stream_options } = parameters;
  const { toolsJson, forced, parallel } = toolsOf(parameters);
  const topLogprobs = logprobs ? (top_logprobs ?? 0) : undefined;
  const maxTokens = parameters.max_completion_tokens ?? parameters.max_tokens;
  const sampling = toSampling(parameters, { maxTokens, topLogprobs, jsonSchema: forced?.jsonSchema ?? schemaOf(parameters.response_format) });
  const value: Conversation = { $typeName: 'mlx_serving.v1.Conversation', messages: parameters.messages.map(toTurn), toolsJson: [...toolsJson] };
  const choices = Array.from({ length: parameters.n ?? 1 }, (_, index) => ({ input: { case: 'conversation' as const, value }, sampling: seeded(sampling, seed, index) }));
  return {
    route: 'chat',
    model: parameters.model,
    user: parameters.user || undefined,
    choices,
    choicesPerPrompt: choices.length,
    stream: stream === true,
    format: createChatFormat({ includeUsage: stream_options?.include_usage === true, topLogprobs, forced, parallel }),
  };
}

function assertTogether(parameters: ChatParameters, { max_messages, max_choices }: RequestLimits): void {
  assertMessages(parameters, max_messages);
  assertStreamOptions(parameters);
  assertChoices(parameters.n ?? 1, max_choices, 'n');
  if (parameters.top_logprobs && !parameters.logprobs) throw errors.INVALID_REQUEST({ message: "'top_logprobs' is only allowed when 'logprobs' is true." }, { param: 'top_logprobs' });
}

function toolsOf({ tools, tool_choice, parallel_tool_calls }: ChatParameters): ToolPlan {
  const choice = typeof tool_choice === 'object' && tool_choice !== null ? tool_choice.function.name : (tool_choice ?? 'auto');
  return planTools((tools ?? []).map((tool) => tool.function), choice, parallel_tool_calls !== false);
}
