import type { GenerationRequest } from '../generation/generation-types.ts';

/** Lengths, in characters, at which a prompt's beginning counts as a prefix that others may share. */
const BOUNDARIES = [64, 256, 1_024, 4_096] as const;
const LONGEST = BOUNDARIES[BOUNDARIES.length - 1] as number;
const TOKENS_PER_CHARACTER = 1 / 4;
const DEFAULT_MAX_TOKENS = 256;
/** No answer counts as longer, whatever is asked for: one request would weigh as much as all others together. */
const LONGEST_ANSWER = 1_000_000;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** A prompt as the balancer sees it. */
export interface PromptShape {
  /** One number for each prefix of the prompt, the shortest first; the last stands for the prompt as far as it is read. */
  readonly keys: readonly number[];
  /** Tokens that the request may cost, estimated: of the prompt and of the answer. */
  readonly cost: number;
}

/** Reads at most 4096 characters, so that the time it takes is bounded. Model and tenant are part of each prefix. */
export function promptShape({ input, model, tenant = '', sampling }: GenerationRequest): PromptShape {
  const prefixes = new PrefixHash(`${model}\0${tenant}\0`);
  if (input.case === 'prompt') prefixes.add(input.value);
  else {
    for (const { role, content } of input.value.messages) {
      prefixes.add(role);
      prefixes.add(content);
    }
  }
  return { keys: prefixes.end(), cost: Math.ceil(prefixes.length * TOKENS_PER_CHARACTER) + Math.min(LONGEST_ANSWER, sampling.maxTokens ?? DEFAULT_MAX_TOKENS) };
}

class PrefixHash {
  readonly #keys: number[] = [];
  #hash: number;
  #read = 0;
  length = 0;

  constructor(salt: string) {
    this.#hash = hashed(FNV_OFFSET, salt, 0, salt.length);
  }

  add(text: string): void {
    this.length += text.length;
    for (let from = 0; from < text.length && this.#read < LONGEST; ) {
      const boundary = BOUNDARIES[this.#keys.length] as number;
      const to = Math.min(text.length, from + boundary - this.#read);
      this.#hash = hashed(this.#hash, text, from, to);
      this.#read += to - from;
      from = to;
      if (this.#read === boundary) this.#keys.push(this.#hash >>> 0);
    }
  }

  end(): readonly number[] {
    if (this.#read < LONGEST) this.#keys.push(this.#hash >>> 0);
    return this.#keys;
  }
}

/** FNV-1a over a part of a text. */
function hashed(before: number, text: string, from: number, to: number): number {
  let hash = before;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ text.charCodeAt(at), FNV_PRIME);
  return hash;
}
