import { FinishReason } from '@mlx-serving/contracts';
import type { GenerationResult } from '../generation/generation-types.ts';

/** How one endpoint writes its answer. Every function returns JSON text. */
export interface AnswerFormat {
  /** What comes before the first text of a stream, if anything does. */
  opening(): string | undefined;
  text(text: string): string;
  /** The last chunk with a choice. */
  closing(result: GenerationResult): string;
  /** The chunk without choices that ends a stream with `include_usage`. */
  usage(result: GenerationResult): string;
  /** The answer that is not streamed. */
  whole(text: string, result: GenerationResult): string;
}

/** @param includeUsage whether the chunks before the last carry `usage: null` */
export type CreateAnswerFormat = (model: string, includeUsage: boolean) => AnswerFormat;

export function openAiUsage({ promptTokens, completionTokens }: GenerationResult) {
  return { prompt_tokens: promptTokens, completion_tokens: completionTokens, total_tokens: promptTokens + completionTokens };
}

export function openAiFinishReason({ finishReason }: GenerationResult): 'stop' | 'length' {
  return finishReason === FinishReason.LENGTH ? 'length' : 'stop';
}
