import type { z } from 'zod';

/** What a text of JSON says, as a schema reads it; undefined when it cannot be read: other tools write to the store too. */
export function readText<S extends z.ZodType>(schema: S, text: string | null | undefined): z.output<S> | undefined {
  if (text === null || text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
