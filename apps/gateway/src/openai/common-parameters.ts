import { z } from 'zod';
import { ignored, refused, supported } from './parameter.ts';
import { LONGEST_MODEL, LONGEST_USER, MOST_MAX_TOKENS } from './request-bounds.ts';

const stop = z.string().min(1, 'must not be empty').max(256, 'must have at most 256 characters');
const penalty = z.number().min(-2).max(2).nullish();
const MAX_BIASES = 1024;
const logitBias = z
  .record(z.string().regex(/^\d{1,9}$/, 'must be the id of a token'), z.number().min(-100).max(100))
  .refine((biases) => Object.keys(biases).length <= MAX_BIASES, `must have at most ${MAX_BIASES} tokens`);
const tokens = z.number().int().min(1).max(MOST_MAX_TOKENS).nullish();

export const model = supported(z.string('you must provide a model parameter').min(1, 'you must provide a model parameter').max(LONGEST_MODEL), 'fake', 'A served model, as `GET /v1/models` lists them.');
export const maxTokens = tokens;
export const temperature = supported(z.number().min(0).max(2).nullish(), 0.5, '0 to 2; 0 is greedy. Default: 1.');
export const topP = supported(z.number().min(0).max(1).nullish(), 0.9, '0 to 1; 0 is greedy. Default: 1.');
export const stream = supported(z.boolean().nullish(), true, 'Server-sent events. A comment comes every 15 s until the first token, so that no proxy gives up.');
export const user = supported(z.string().max(LONGEST_USER).nullish(), 'ada', 'The same user gets the same variant and the same flags.');
export const metadata = ignored(z.record(z.string(), z.unknown()), { team: 'search' }, 'Nothing is stored.');
export const safetyIdentifier = ignored(z.string(), 'u-1', 'No safety service looks at requests.');
export const promptCacheKey = ignored(z.string(), 'k', 'Prompts with a shared beginning are found by their text.');
export const promptCacheOptions = ignored(z.record(z.string(), z.unknown()), { mode: 'implicit' }, 'The worker keeps prompts within its byte budget.');
export const moderation = refused([], { model: 'omni-moderation-latest' }, 'No moderation looks at requests.');
export const serviceTier = ignored(z.enum(['auto', 'default', 'flex', 'priority', 'scale', 'fast']), 'auto', 'The class of the key decides.');

/** What this system has beside OpenAI's parameters. */
export const extensions = {
  top_k: supported(z.number().int().min(0).max(1_000_000).nullish(), 20, 'Extension: draws from the likeliest tokens only; 0 draws from all.'),
  min_p: supported(z.number().min(0).max(1).nullish(), 0.05, "Extension: least probability as a share of the likeliest token's."),
  repetition_penalty: supported(z.number().gt(0).max(10).nullish(), 1.1, 'Extension: divides the logits of the last 20 tokens, those of the prompt included. Default: 1.'),
};

/** The parameters that chat and text completions share. */
export const commonParameters = {
  model,
  max_tokens: supported(tokens, 8, 'Most tokens to generate.'),
  temperature,
  top_p: topP,
  n: supported(z.number().int().min(1).nullish(), 2, 'Answers to one request, at most `requests.max_choices` of `runtime.yaml`. The prompt counts once in the usage.'),
  seed: supported(z.number().int().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER).nullish(), 42, 'Makes the draw repeatable; answer `i` is drawn with `seed + i`.'),
  stop: supported(
    z.union([stop, z.array(stop).max(4, 'must have at most 4 strings')], 'must be a string of 1 to 256 characters or an array of at most 4 of them').nullish(),
    ['END'],
    'Up to four strings of at most 256 characters.',
  ),
  stream,
  stream_options: supported(
    z.strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: z.boolean().nullish() }).nullish(),
    { include_usage: true },
    'With `include_usage` the last chunk has no choices and the usage. `include_obfuscation` is ignored.',
    { stream: true },
  ),
  presence_penalty: supported(penalty, 0.5, '-2 to 2, for every token that the answer has so far.'),
  frequency_penalty: supported(penalty, 0.5, '-2 to 2, for each time that the answer has a token so far.'),
  logit_bias: supported(logitBias.nullish(), { '5': -10 }, `Token id to -100 to 100, at most ${MAX_BIASES} tokens of the served model.`),
  user,
  ...extensions,
};
