import { type FlagConfig, flagConfig, flagName } from '@mlx-serving/policy';

/** Longest text of one flag, in characters. */
export const MAX_DEFINITION_LENGTH = 64 * 1024;
/** Most flags that one store holds. */
export const MAX_FLAGS = 10_000;
/** Most bytes of all definitions together, so that a snapshot fits into one message. */
export const MAX_DEFINITION_BYTES = 48 * 1024 * 1024;

export type Decoded<T> = { readonly value: T } | { readonly problem: string };

/** Reads a flag as the store holds it. Never throws. */
export function decodeStoredFlag(name: string, text: string): Decoded<FlagConfig> {
  const named = flagName.safeParse(name);
  if (!named.success) return { problem: `The name ${named.error.issues[0]?.message ?? 'is not usable'}.` };
  const decoded = decodeDefinition(text);
  return 'problem' in decoded ? decoded : { value: decoded.value.config };
}

/** Reads a definition: the JSON as it was given, and the flag that it means. */
export function decodeDefinition(text: string): Decoded<{ body: Record<string, unknown>; config: FlagConfig }> {
  if (text.length > MAX_DEFINITION_LENGTH) return { problem: `The definition is longer than ${MAX_DEFINITION_LENGTH} characters.` };
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return { problem: 'The definition is not JSON.' };
  }
  const parsed = flagConfig.safeParse(body);
  if (parsed.success) return { value: { body: body as Record<string, unknown>, config: parsed.data } };
  return { problem: parsed.error.issues.map((issue) => `${issue.path.join('.') || 'The definition'}: ${issue.message}`).join('; ') };
}

/**
 * The text to store for a new definition. Fields of the stored one that only other tools know are kept (SPEC F10),
 * and so is its `killSwitch` when the new definition does not speak of it.
 */
export function mergeDefinition(stored: string | undefined, config: FlagConfig, speaksOfKillSwitch: boolean): string {
  const decoded = stored === undefined ? undefined : decodeDefinition(stored);
  const former = decoded && 'value' in decoded ? decoded.value.body : {};
  const kept = Object.entries(former).filter(([field]) => !(field in flagConfig.shape));
  const killSwitch = speaksOfKillSwitch ? config.killSwitch : former['killSwitch'] === true;
  return JSON.stringify({ ...Object.fromEntries(kept), ...config, killSwitch });
}
