import { LONGEST_MODEL, LONGEST_USER, MOST_MAX_TOKENS } from '../openai/request-bounds.ts';
import type { ChatParameters } from './chat-parameters.ts';

const between = (least: number, most: number) => (value: unknown): boolean => typeof value === 'number' && value >= least && value <= most;
const integer = (least: number, most: number) => (value: unknown): boolean => Number.isInteger(value) && between(least, most)(value);
const text = (least: number, most: number) => (value: unknown): boolean => typeof value === 'string' && value.length >= least && value.length <= most;
const ROLES: ReadonlySet<unknown> = new Set(['system', 'developer', 'user', 'assistant']);

/** What most requests have, within the bounds of the table, by name. It has no prototype: any name may be looked up. */
const PLAIN: Readonly<Record<string, ((value: unknown) => boolean) | undefined>> = Object.assign(Object.create(null) as object, {
  model: text(1, LONGEST_MODEL),
  messages: (value: unknown) => Array.isArray(value) && value.length > 0 && value.every(isPlainMessage),
  stream: (value: unknown) => typeof value === 'boolean',
  user: text(0, LONGEST_USER),
  temperature: between(0, 2),
  top_p: between(0, 1),
  max_tokens: integer(1, MOST_MAX_TOKENS),
  max_completion_tokens: integer(1, MOST_MAX_TOKENS),
  seed: integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
});

/**
 * A body that needs no look into the table, because it has only texts for messages and the commonest parameters, all
 * right: reading it by its schema costs several times as much.
 * @returns undefined for every other one, which may be right all the same
 */
export function plainChat(body: Record<string, unknown>): ChatParameters | undefined {
  for (const name in body) if (!PLAIN[name]?.(body[name])) return undefined;
  return 'model' in body && 'messages' in body ? (body as unknown as ChatParameters) : undefined;
}

function isPlainMessage(message: unknown): boolean {
  if (typeof message !== 'object' || message === null) return false;
  let known = 0;
  for (const name in message) if (name === 'role' || name === 'content') known++; else return false;
  const { role, content } = message as { role?: unknown; content?: unknown };
  return known === 2 && ROLES.has(role) && typeof content === 'string';
}
