import { z } from 'zod';
import { commonParameters, exactly, nothing, unsupported } from '../openai/common-parameters.ts';

const prompt = z.union([z.string(), z.tuple([z.string()], unsupported('send one string.')).transform(([only]) => only)], unsupported('send one string.'));

/** The body of POST /v1/completions. */
export const completionParameters = z.strictObject({
  ...commonParameters,
  prompt,
  best_of: exactly(1),
  echo: exactly(false),
  logprobs: nothing,
  suffix: exactly(''),
});

export type CompletionParameters = z.infer<typeof completionParameters>;
