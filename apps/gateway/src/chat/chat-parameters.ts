import { z } from 'zod';
import { commonParameters, metadata, moderation, promptCacheKey, promptCacheOptions, safetyIdentifier, serviceTier } from '../openai/common-parameters.ts';
import { bodySchema, ignored, refused, supported } from '../openai/parameter.ts';
import { responseFormat } from '../openai/response-format.ts';
import { chatMessage } from './chat-message.ts';
import { toolChoice, tools } from './chat-tools.ts';

const messages = [{ role: 'user', content: 'Hello' }];
const weather = { type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } } };

/** Every parameter of POST /v1/chat/completions. */
export const chatTable = {
  ...commonParameters,
  messages: supported(z.array(chatMessage).min(1, 'must have at least one message'), messages, 'Roles `system`, `developer`, `user`, `assistant`, `tool`; content as text or text parts. `name` is ignored.'),
  max_completion_tokens: supported(commonParameters.max_tokens.schema, 8, 'As `max_tokens`, which it goes before.'),
  logprobs: supported(z.boolean().nullish(), true, 'Log probabilities of the tokens.'),
  top_logprobs: supported(z.number().int().min(0).max(20).nullish(), 2, '0 to 20, with `logprobs`.', { logprobs: true }),
  response_format: supported(
    responseFormat,
    { type: 'json_schema', json_schema: { name: 'answer', schema: { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'], additionalProperties: false } } },
    '`text`, `json_object`, `json_schema`: the worker draws only tokens that the schema allows.',
  ),
  tools: supported(tools, [weather], 'Up to 128 functions, given to the model by its chat template.'),
  tool_choice: supported(toolChoice, 'required', '`none`, `auto`, `required` or one function. A forced call is held to the schema of its arguments, so that any model can make it.', { tools: [weather] }),
  parallel_tool_calls: supported(z.boolean().nullish(), false, '`false` shows the first call only.', { tools: [weather] }),
  service_tier: serviceTier,
  metadata,
  safety_identifier: safetyIdentifier,
  prompt_cache_key: promptCacheKey,
  prompt_cache_options: promptCacheOptions,
  prompt_cache_retention: ignored(z.string(), '24h', 'The worker keeps prompts within its byte budget.'),
  prediction: ignored(z.record(z.string(), z.unknown()), { type: 'content', content: 'x' }, 'A hint for speed alone.'),
  functions: refused([[]], [{ name: 'f' }], 'Use `tools`.'),
  function_call: refused(['none', 'auto'], { name: 'f' }, 'Use `tool_choice`.'),
  modalities: refused([['text']], ['text', 'audio'], 'Text only.'),
  audio: refused([], { voice: 'alloy', format: 'wav' }, 'Text only.'),
  reasoning_effort: refused(['none'], 'low', 'No served model has it.'),
  verbosity: refused(['medium'], 'low', 'No served model has it.'),
  web_search_options: refused([], {}, 'There is no search.'),
  store: refused([false], true, 'Answers are not stored.'),
  moderation,
} as const;

/** The body of POST /v1/chat/completions. */
export const chatParameters = bodySchema(chatTable);

export type ChatParameters = z.infer<typeof chatParameters>;
