import { create } from '@bufbuild/protobuf';
import { type SamplingOptions, SamplingOptionsSchema } from '@mlx-serving/contracts';

/** How tokens are drawn, as OpenAI's endpoints name it. */
export interface SamplingParameters {
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  readonly top_k?: number | null | undefined;
  readonly min_p?: number | null | undefined;
  readonly repetition_penalty?: number | null | undefined;
  readonly presence_penalty?: number | null | undefined;
  readonly frequency_penalty?: number | null | undefined;
  readonly logit_bias?: Readonly<Record<string, number>> | null | undefined;
  readonly stop?: string | string[] | null | undefined;
}

export interface SamplingExtras {
  readonly maxTokens?: number | null | undefined;
  /** When set, tokens carry their log probabilities and so many of the likeliest. */
  readonly topLogprobs?: number | undefined;
  /** The answer is JSON that this schema allows. */
  readonly jsonSchema?: string | undefined;
}

/** Sampling as the worker takes it. OpenAI's default temperature is 1. */
export function toSampling(parameters: SamplingParameters, { maxTokens, topLogprobs, jsonSchema }: SamplingExtras): SamplingOptions {
  // A nucleus of no mass holds the likeliest token alone, which is greedy decoding.
  const greedy = parameters.top_p === 0;
  return create(
    SamplingOptionsSchema,
    given({
      temperature: greedy ? 0 : (parameters.temperature ?? 1),
      maxTokens,
      topP: greedy ? undefined : parameters.top_p,
      topK: parameters.top_k,
      minP: parameters.min_p,
      repetitionPenalty: parameters.repetition_penalty,
      presencePenalty: parameters.presence_penalty,
      frequencyPenalty: parameters.frequency_penalty,
      logitBias: parameters.logit_bias,
      stop: parameters.stop == null ? undefined : [parameters.stop].flat(),
      topLogprobs,
      jsonSchema,
    }),
  );
}

type Given<T> = { [K in keyof T]?: NonNullable<T[K]> };

/** What is neither null nor undefined. */
function given<T extends object>(values: T): Given<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== undefined)) as Given<T>;
}

/** The sampling of one of several answers: each has a seed of its own, so that they differ and are repeatable. */
export function seeded(sampling: SamplingOptions, seed: number | null | undefined, choice: number): SamplingOptions {
  if (seed == null) return sampling;
  return { ...sampling, seed: BigInt.asIntN(64, BigInt(seed) + BigInt(choice)) };
}
