import { z } from 'zod';
import { functionDefinition } from '../chat/chat-tools.ts';
import { extensions, maxTokens, metadata, model, moderation, promptCacheKey, promptCacheOptions, safetyIdentifier, serviceTier, stream, temperature, topP, user } from '../openai/common-parameters.ts';
import { bodySchema, ignored, onlyNeutral, refused, supported, unsupported } from '../openai/parameter.ts';
import { schemaName } from '../openai/response-format.ts';
import { responseInput } from './response-input.ts';

const tool = z.strictObject({
  type: z.literal('function', unsupported('only tools of type function are.')),
  ...functionDefinition.shape,
  parameters: z.record(z.string(), z.unknown()).nullish(),
  async: onlyNeutral([false], 'false'),
  defer_loading: onlyNeutral([false], 'false'),
  allowed_callers: onlyNeutral([['direct']], '["direct"]'),
  output_schema: onlyNeutral([], 'null'),
});
const weather = { type: 'function', name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } };
const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'], additionalProperties: false };

const format = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ type: z.literal('text') }),
    z.strictObject({ type: z.literal('json_object') }),
    z.strictObject({ type: z.literal('json_schema'), name: schemaName, description: z.string().nullish(), schema: z.record(z.string(), z.unknown()), strict: z.boolean().nullish() }),
  ],
  unsupported('its type must be text, json_object or json_schema.'),
);

const toolChoice = z.union(
  [z.enum(['none', 'auto', 'required']), z.strictObject({ type: z.literal('function', unsupported('only choices of type function are.')), name: z.string() })],
  'must be none, auto, required or {"type": "function", "name": …}',
);

const LOGPROBS = 'message.output_text.logprobs';

/** Every parameter of POST /v1/responses. */
export const responseTable = {
  model,
  input: supported(responseInput, [{ role: 'user', content: [{ type: 'input_text', text: 'Hello' }] }], 'A text, or messages, function calls and their outputs.'),
  instructions: supported(z.string().nullish(), 'Be brief.', 'Becomes the first message, of role `system`.'),
  max_output_tokens: supported(maxTokens, 16, 'Most tokens to generate.'),
  temperature,
  top_p: topP,
  top_logprobs: supported(z.number().int().min(0).max(20).nullish(), 2, 'Log probabilities of the tokens, with so many of the likeliest.'),
  include: supported(z.array(z.literal(LOGPROBS, unsupported(`only ${LOGPROBS} is.`))).nullish(), [LOGPROBS], `Only \`${LOGPROBS}\`.`),
  text: supported(
    z.strictObject({ format: format.nullish(), verbosity: onlyNeutral(['medium'], '"medium"') }).nullish(),
    { format: { type: 'json_schema', name: 'answer', schema } },
    '`format` of type `text`, `json_object` or `json_schema`; `verbosity` is refused.',
  ),
  tools: supported(z.array(tool).max(128).nullish(), [weather], 'Up to 128 functions.'),
  tool_choice: supported(toolChoice.nullish(), 'required', '`none`, `auto`, `required` or one function.', { tools: [weather] }),
  parallel_tool_calls: supported(z.boolean().nullish(), false, '`false` shows the first call only.', { tools: [weather] }),
  stream,
  stream_options: ignored(z.strictObject({ include_obfuscation: z.boolean().nullish() }), { include_obfuscation: false }, 'There is no obfuscation.'),
  user,
  ...extensions,
  seed: supported(z.number().int().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER).nullish(), 42, 'Extension: makes the draw repeatable.'),
  service_tier: serviceTier,
  metadata,
  safety_identifier: safetyIdentifier,
  prompt_cache_key: promptCacheKey,
  prompt_cache_options: promptCacheOptions,
  prompt_cache_retention: ignored(z.string(), '24h', 'The worker keeps prompts within its byte budget.'),
  store: refused([false], true, 'Answers are not stored: send the conversation each time.'),
  previous_response_id: refused([], 'resp_1', 'Answers are not stored: send the conversation each time.'),
  conversation: refused([], 'conv_1', 'Conversations are not stored: send the conversation each time.'),
  background: refused([false], true, 'Answers are not stored.'),
  prompt: refused([], { id: 'pmpt_1' }, 'Prompts are not stored.'),
  truncation: refused(['disabled'], 'auto', 'A prompt that is too long is an error.'),
  reasoning: refused([{}, { effort: null }], { effort: 'low' }, 'No served model has it.'),
  max_tool_calls: refused([], 1, 'Only built-in tools would count.'),
  context_management: refused([[]], [{ type: 'compaction' }], 'Nothing is left out of a conversation.'),
  image: refused([{}], { quality: 'high' }, 'Text only.'),
  access_programs: refused([], { cyber: 'x' }, 'There are none.'),
  moderation,
} as const;

/** The body of POST /v1/responses. */
export const responseParameters = bodySchema(responseTable);

export type ResponseParameters = z.infer<typeof responseParameters>;
