import { z } from 'zod';
import { unsupported } from './parameter.ts';

export const schemaName = z.string().regex(/^[\w-]{1,64}$/, 'must be 1 to 64 letters, digits, _ and -');

/** `response_format` of OpenAI's chat endpoint. */
export const responseFormat = z
  .discriminatedUnion(
    'type',
    [
      z.strictObject({ type: z.literal('text') }),
      z.strictObject({ type: z.literal('json_object') }),
      z.strictObject({
        type: z.literal('json_schema'),
        json_schema: z.strictObject({ name: schemaName, description: z.string().nullish(), schema: z.record(z.string(), z.unknown()).optional(), strict: z.boolean().nullish() }),
      }),
    ],
    unsupported('its type must be text, json_object or json_schema.'),
  )
  .nullish();

const ANY_OBJECT = '{"type":"object"}';

/** The schema that the answer is held to, or undefined for plain text. */
export function schemaOf(format: z.infer<typeof responseFormat>): string | undefined {
  if (!format || format.type === 'text') return undefined;
  if (format.type === 'json_object') return ANY_OBJECT;
  return format.json_schema.schema ? JSON.stringify(format.json_schema.schema) : ANY_OBJECT;
}
