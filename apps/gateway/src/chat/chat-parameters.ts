import { z } from 'zod';
import { commonParameters, empty, exactly, neutral, nothing, unsupported } from '../openai/common-parameters.ts';

const textPart = z.strictObject({ type: z.literal('text', unsupported('only parts of type text are.')), text: z.string() });
const content = z
  .union([z.string(), z.array(textPart).min(1)], 'must be a string or an array of text parts')
  .transform((value) => (typeof value === 'string' ? value : value.map((part) => part.text).join('')));

/** Fields that OpenAI's answers carry and that clients send back with the conversation. */
const answered = { refusal: nothing, tool_calls: empty, function_call: nothing, audio: nothing, annotations: empty };

const message = z.strictObject({
  role: z.enum(['system', 'developer', 'user', 'assistant'], {
    error: ({ input }) => (input === 'tool' || input === 'function' ? unsupported('tools are not.') : 'must be system, developer, user or assistant'),
  }),
  content,
  name: nothing,
  ...answered,
});

/** The body of POST /v1/chat/completions. */
export const chatParameters = z.strictObject({
  ...commonParameters,
  messages: z.array(message).min(1, 'must have at least one message'),
  max_completion_tokens: commonParameters.max_tokens,
  logprobs: exactly(false),
  top_logprobs: exactly(0),
  response_format: exactly({ type: 'text' }),
  tools: empty,
  tool_choice: exactly('none', 'auto'),
  parallel_tool_calls: neutral((value) => typeof value === 'boolean', 'a boolean'),
  functions: empty,
  function_call: exactly('none', 'auto'),
  modalities: exactly(['text']),
  audio: nothing,
  prediction: nothing,
  reasoning_effort: nothing,
  verbosity: exactly('medium'),
  web_search_options: nothing,
  service_tier: exactly('auto', 'default'),
  store: exactly(false),
  metadata: neutral((value) => typeof value === 'object', 'an object'),
  safety_identifier: neutral((value) => typeof value === 'string', 'a string'),
  prompt_cache_key: neutral((value) => typeof value === 'string', 'a string'),
});

export type ChatParameters = z.infer<typeof chatParameters>;
