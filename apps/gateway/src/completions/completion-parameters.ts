import { z } from 'zod';
import { commonParameters } from '../openai/common-parameters.ts';
import { bodySchema, refused, supported, unsupported } from '../openai/parameter.ts';

/** Most prompts of one request, before `requests.max_choices` is asked. */
const MAX_PROMPTS = 128;

const texts = z.array(z.string()).min(1, 'must have at least one prompt').max(MAX_PROMPTS);
const prompt = z.union([z.string().transform((only) => [only]), texts], unsupported('send text, not tokens.'));

/** Every parameter of POST /v1/completions. */
export const completionTable = {
  ...commonParameters,
  max_tokens: supported(commonParameters.max_tokens.schema, 8, 'Most tokens to generate. Default: 16.'),
  prompt: supported(prompt, ['Once', 'Twice'], 'A string or several; token ids are refused.'),
  best_of: supported(z.number().int().min(1).nullish(), 2, 'Generates so many answers and gives the `n` with the best mean log probability. Not with `stream`.'),
  echo: supported(z.boolean().nullish(), true, 'The prompt goes before the answer. Not with `logprobs`.'),
  logprobs: supported(z.number().int().min(0).max(5).nullish(), 2, '0 to 5 of the likeliest tokens.'),
  suffix: refused([''], ' end', 'No served model fills in the middle.'),
} as const;

/** The body of POST /v1/completions. */
export const completionParameters = bodySchema(completionTable);

export type CompletionParameters = z.infer<typeof completionParameters>;
