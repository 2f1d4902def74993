import { z } from 'zod';
import { errors } from '../errors.ts';
import { anyCall, type ForcedCall, namedCall, type ToolDefinition } from '../openai/forced-call.ts';
import { unsupported } from '../openai/parameter.ts';

const MAX_TOOLS = 128;

/** A function that the model may call. */
export const functionDefinition = z.strictObject({
  name: z.string().regex(/^[\w-]{1,64}$/, 'must be 1 to 64 letters, digits, _ and -'),
  description: z.string().max(8_192).nullish(),
  parameters: z.record(z.string(), z.unknown()).optional(),
  strict: z.boolean().nullish(),
});

export const tools = z.array(z.strictObject({ type: z.literal('function', unsupported('only tools of type function are.')), function: functionDefinition })).max(MAX_TOOLS).nullish();

export const toolChoice = z
  .union(
    [
      z.enum(['none', 'auto', 'required']),
      z.strictObject({ type: z.literal('function', unsupported('only choices of type function are.')), function: z.strictObject({ name: z.string() }) }),
    ],
    'must be none, auto, required or {"type": "function", "function": {"name": …}}',
  )
  .nullish();

/** Which tools the model sees, and the call that it must make, if it must. */
export interface ToolPlan {
  /** As OpenAI's JSON. */
  readonly toolsJson: readonly string[];
  readonly forced: ForcedCall | undefined;
  /** Whether more than one call is shown. */
  readonly parallel: boolean;
}

/**
 * @param choice `none`, `auto`, `required`, or the name of a function
 * @throws INVALID_REQUEST when there is a choice without tools, or of a tool that is not there
 */
export function planTools(definitions: readonly ToolDefinition[], choice: string, parallel: boolean): ToolPlan {
  const toolsJson = choice === 'none' ? [] : definitions.map((definition) => JSON.stringify({ type: 'function', function: definition }));
  return { toolsJson, forced: forcedCall(definitions, choice), parallel };
}

function forcedCall(definitions: readonly ToolDefinition[], choice: string): ForcedCall | undefined {
  if (choice === 'none' || choice === 'auto') return undefined;
  if (definitions.length === 0) throw errors.INVALID_REQUEST({ message: "'tool_choice' is only allowed when 'tools' are specified." }, { param: 'tool_choice' });
  if (choice === 'required') return anyCall(definitions);
  const named = definitions.find(({ name }) => name === choice);
  if (!named) throw errors.INVALID_REQUEST({ message: `'tool_choice' names '${choice}', which is none of the tools.` }, { param: 'tool_choice' });
  return namedCall(named);
}
