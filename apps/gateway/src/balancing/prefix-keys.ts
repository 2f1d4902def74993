import type { GenerationRequest } from '../generation/generation-types.ts';

/** Lengths, in characters, at which a prompt's beginning counts as a prefix that others may share. */
const BOUNDARIES = [64, 256, 1_024, 4_096] as const;
const LONGEST = BOUNDARIES[BOUNDARIES.length - 1] as number;
const TOKENS_PER_CHARACTER = 1 / 4;
const DEFAULT_MAX_TOKENS = 256;

/** A prompt as the balancer sees it. */
export interface PromptShape {
  /** One number for each prefix of the prompt, the shortest first; the last stands for the prompt as far as it is read. */
  readonly keys: readonly number[];
  /** Tokens that the request may cost, estimated: of the prompt and of the answer. */
  readonly cost: number;
}

/** Reads at most 4096 characters, so that the time it takes is bounded. Model and tenant are part of each prefix. */
export function promptShape({ input, model, tenant = '', sampling }: GenerationRequest): PromptShape {
  const keys: number[] = [];
  let hash = 0x811c9dc5;
  let read = 0;
  let length = 0;
  const add = (text: string): void => {
    length += text.length;
    for (let at = 0; at < text.length && read < LONGEST; at++) {
      hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
      read++;
      if ((BOUNDARIES as readonly number[]).includes(read)) keys.push(hash >>> 0);
    }
  };
  for (const character of `${model}\0${tenant}\0`) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  if (input.case === 'prompt') add(input.value);
  else for (const { role, content } of input.value.messages) [role, content].forEach(add);
  if (read < LONGEST) keys.push(hash >>> 0);
  return { keys, cost: Math.ceil(length * TOKENS_PER_CHARACTER) + (sampling.maxTokens ?? DEFAULT_MAX_TOKENS) };
}
