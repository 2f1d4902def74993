import { z } from 'zod';

const UNSUPPORTED = 'unsupported: ';

/** Marks a message so that the answer says that the value is not supported yet, rather than that it is wrong. */
export function unsupported(message: string): string {
  return UNSUPPORTED + message;
}

/** @returns what an unsupported value's message says, or undefined for a plain mistake */
export function unsupportedMessage(message: string): string | undefined {
  return message.startsWith(UNSUPPORTED) ? message.slice(UNSUPPORTED.length) : undefined;
}

/** A parameter of OpenAI's that is not supported: a value that changes nothing is taken, any other refused. */
export function neutral(isNeutral: (value: unknown) => boolean, allowed: string) {
  return z.unknown().refine((value) => value === undefined || value === null || isNeutral(value), unsupported(`leave it out or send ${allowed}.`)).optional();
}

const isEmpty = (value: unknown): boolean => typeof value === 'object' && value !== null && Object.keys(value).length === 0;
const zero = neutral((value) => value === 0, '0');

export const exactly = (...values: unknown[]) =>
  neutral((value) => values.some((one) => JSON.stringify(one) === JSON.stringify(value)), values.map((value) => JSON.stringify(value)).join(' or '));
export const nothing = neutral(() => false, 'null');
export const empty = neutral(isEmpty, 'an empty value');

const stop = z.string().min(1, 'must not be empty').max(256, 'must have at most 256 characters');

/** The parameters that both endpoints have. */
export const commonParameters = {
  model: z.string('you must provide a model parameter').min(1, 'you must provide a model parameter').max(256),
  max_tokens: z.number().int().min(1).max(1_000_000).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  seed: z.number().int().nullish(),
  stop: z.union([stop, z.array(stop).max(4, 'must have at most 4 strings')], 'must be a string of 1 to 256 characters or an array of at most 4 of them').nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: exactly(false) }).nullish(),
  user: z.string().max(512).nullish(),
  n: exactly(1),
  presence_penalty: zero,
  frequency_penalty: zero,
  logit_bias: empty,
};

type Common = z.infer<z.ZodObject<typeof commonParameters>>;

/** Sampling as the worker takes it. OpenAI's default temperature is 1. */
export function toSampling(parameters: Common, maxTokens: number | null | undefined) {
  // A nucleus of no mass holds the likeliest token alone, which is greedy decoding.
  const greedy = parameters.top_p === 0;
  return {
    temperature: greedy ? 0 : (parameters.temperature ?? 1),
    ...(maxTokens == null ? {} : { maxTokens }),
    ...(parameters.top_p == null || greedy ? {} : { topP: parameters.top_p }),
    ...(parameters.seed == null ? {} : { seed: BigInt(parameters.seed) }),
    stop: parameters.stop == null ? [] : [parameters.stop].flat(),
  };
}
