import type { ChatMessage, ToolCall } from '@mlx-serving/contracts';
import { z } from 'zod';
import { onlyNeutral, unsupported } from '../openai/parameter.ts';

const textPart = z.strictObject({ type: z.literal('text', unsupported('only parts of type text are.')), text: z.string(), prompt_cache_breakpoint: z.unknown().optional() });
const content = z
  .union([z.string(), z.array(textPart).min(1)], 'must be a string or an array of text parts')
  .transform((value) => (typeof value === 'string' ? value : value.map((part) => part.text).join('')));

const toolCall = z.strictObject({
  id: z.string().min(1).max(256),
  type: z.literal('function', unsupported('only calls of functions are.')),
  function: z.strictObject({ name: z.string().min(1).max(64), arguments: z.string() }),
});

const name = z.string().max(64).nullish();

/** Fields that OpenAI's answers carry and that clients send back with the conversation. */
const answered = {
  refusal: onlyNeutral([], 'null'),
  function_call: onlyNeutral([], 'null'),
  audio: onlyNeutral([], 'null'),
  annotations: onlyNeutral([[]], '[]'),
  // Some models' thoughts; no chat template takes them back.
  reasoning_content: z.string().nullish(),
};

const spoken = z.strictObject({ role: z.enum(['system', 'developer', 'user']), content, name, ...answered, tool_calls: onlyNeutral([[]], '[]') });
const assistant = z
  .strictObject({ role: z.literal('assistant'), content: content.nullish(), name, tool_calls: z.array(toolCall).max(128).nullish(), ...answered })
  .refine((message) => message.content != null || (message.tool_calls?.length ?? 0) > 0, { path: ['content'], message: 'must be a string or an array of text parts, unless there are tool_calls' });
const tool = z.strictObject({ role: z.literal('tool'), content, tool_call_id: z.string().min(1).max(256), name });

const roles = 'must be system, developer, user, assistant or tool';

/** One turn of a chat as OpenAI's clients send it. */
export const chatMessage = z.discriminatedUnion('role', [spoken, assistant, tool], {
  error: (issue) => {
    const role = typeof issue.input === 'object' && issue.input !== null ? (issue.input as { role?: unknown }).role : undefined;
    return role === 'function' ? unsupported('use the role tool.') : roles;
  },
});

export type OpenAiChatMessage = z.infer<typeof chatMessage>;

/** A turn as the worker takes it. */
export function toTurn(message: OpenAiChatMessage): ChatMessage {
  if (message.role === 'tool') return turn('tool', message.content, [], message.tool_call_id);
  if (message.role !== 'assistant') return turn(message.role === 'developer' ? 'system' : message.role, message.content);
  const toolCalls = (message.tool_calls ?? []).map((call): ToolCall => ({ $typeName: 'mlx_serving.v1.ToolCall', id: call.id, name: call.function.name, argumentsJson: call.function.arguments }));
  return turn('assistant', message.content ?? '', toolCalls);
}

function turn(role: string, content: string, toolCalls: ToolCall[] = [], toolCallId = ''): ChatMessage {
  return { $typeName: 'mlx_serving.v1.ChatMessage', role, content, toolCalls, toolCallId };
}
