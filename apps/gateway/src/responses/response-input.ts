import { type MessageInitShape } from '@bufbuild/protobuf';
import type { ChatMessageSchema } from '@mlx-serving/contracts';
import { z } from 'zod';
import { onlyNeutral, unsupported } from '../openai/parameter.ts';

const part = z.object({ type: z.enum(['input_text', 'output_text', 'text'], unsupported('only parts of text are.')), text: z.string() });
const content = z
  .union([z.string(), z.array(part).min(1)], 'must be a string or an array of text parts')
  .transform((value) => (typeof value === 'string' ? value : value.map(({ text }) => text).join('')));

/** Fields that OpenAI's answers carry and that clients send back with the conversation. */
const answered = { id: z.string().nullish(), status: z.string().nullish(), phase: z.string().nullish() };

/** Who called: the model itself, for there is nobody else. */
const calledBy = { namespace: onlyNeutral([], 'null'), caller: onlyNeutral([{ type: 'direct' }], '{"type":"direct"}') };

const message = z.strictObject({ type: z.literal('message').optional(), role: z.enum(['system', 'developer', 'user', 'assistant']), content, ...answered });
const call = z.strictObject({ type: z.literal('function_call'), call_id: z.string().min(1), name: z.string().min(1), arguments: z.string(), async: onlyNeutral([false], 'false'), ...calledBy, ...answered });
const output = z.strictObject({ type: z.literal('function_call_output'), call_id: z.string().min(1), name: z.string().nullish(), output: content, ...calledBy, ...answered });

const item = z.union([message, call, output], unsupported('send messages, function calls and their outputs.'));

/** `input` of OpenAI's Responses endpoint: a text, or items. */
export const responseInput = z.union([z.string().min(1), z.array(item).min(1, 'must have at least one item')]);

type Turn = MessageInitShape<typeof ChatMessageSchema>;

/** The conversation that an input stands for. Calls that follow one another are one turn of the assistant. */
export function toTurns(input: z.infer<typeof responseInput>, instructions: string | null | undefined): Turn[] {
  const turns: Turn[] = instructions == null ? [] : [{ role: 'system', content: instructions }];
  if (typeof input === 'string') return [...turns, { role: 'user', content: input }];
  for (const one of input) {
    if (one.type === 'function_call') addCall(turns, { id: one.call_id, name: one.name, argumentsJson: one.arguments });
    else if (one.type === 'function_call_output') turns.push({ role: 'tool', content: one.output, toolCallId: one.call_id });
    else turns.push({ role: one.role === 'developer' ? 'system' : one.role, content: one.content });
  }
  return turns;
}

function addCall(turns: Turn[], call: { id: string; name: string; argumentsJson: string }): void {
  const last = turns.at(-1);
  if (last?.role === 'assistant') last.toolCalls = [...(last.toolCalls ?? []), call];
  else turns.push({ role: 'assistant', content: '', toolCalls: [call] });
}
