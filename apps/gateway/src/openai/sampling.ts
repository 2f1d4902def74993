import type { SamplingOptions } from '@mlx-serving/contracts';

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
export function toSampling(parameters: SamplingParameters, { maxTokens, topLogprobs, jsonSchema = '' }: SamplingExtras): SamplingOptions {
  // A nucleus of no mass holds the likeliest token alone, which is greedy decoding.
  const greedy = parameters.top_p === 0;
  const sampling = withoutOptions(parameters, greedy ? 0 : (parameters.temperature ?? 1));
  sampling.jsonSchema = jsonSchema;
  if (maxTokens != null) sampling.maxTokens = maxTokens;
  if (!greedy && parameters.top_p != null) sampling.topP = parameters.top_p;
  if (parameters.repetition_penalty != null) sampling.repetitionPenalty = parameters.repetition_penalty;
  if (topLogprobs !== undefined) sampling.topLogprobs = topLogprobs;
  return sampling;
}

/** The fields that are always there; the absence of the others means something. */
function withoutOptions({ stop, top_k, min_p, presence_penalty, frequency_penalty, logit_bias }: SamplingParameters, temperature: number): SamplingOptions {
  return {
    $typeName: 'mlx_serving.v1.SamplingOptions',
    temperature,
    stop: stop == null ? [] : [stop].flat(),
    topK: top_k ?? 0,
    minP: min_p ?? 0,
    presencePenalty: presence_penalty ?? 0,
    frequencyPenalty: frequency_penalty ?? 0,
    logitBias: { ...logit_bias },
    jsonSchema: '',
  };
}

/** The sampling of one of several answers: each has a seed of its own, so that they differ and are repeatable. */
export function seeded(sampling: SamplingOptions, seed: number | null | undefined, choice: number): SamplingOptions {
  if (seed == null) return sampling;
  return { ...sampling, seed: BigInt.asIntN(64, BigInt(seed) + BigInt(choice)) };
}
