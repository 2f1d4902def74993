import { FinishReason, type Token } from '@mlx-serving/contracts';
import type { ServiceError } from '@mlx-serving/service-kit';
import type { GenerationResult } from '../generation/generation-types.ts';

/** What all answers to a request cost. */
export interface AnswerUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedPromptTokens: number;
}

/** How one endpoint writes a stream. Every function returns whole server-sent events, or nothing. */
export interface StreamFormat {
  tokens(choice: number, tokens: readonly Token[]): string;
  /** One answer has come to its end. */
  ended(choice: number, result: GenerationResult): string;
  /** All have. */
  closing(usage: AnswerUsage): string;
  failed(error: ServiceError): string;
}

/** One answer that has come to its end. */
export interface WholeChoice {
  readonly text: string;
  readonly tokens: readonly Token[];
  readonly result: GenerationResult;
}

/** How one endpoint answers one request, as a stream or whole. */
export interface AnswerFormat {
  stream(model: string): StreamFormat;
  /** @returns JSON text */
  whole(model: string, choices: readonly WholeChoice[], usage: AnswerUsage): string;
}

export function openAiUsage({ promptTokens, completionTokens, cachedPromptTokens }: AnswerUsage) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedPromptTokens },
  };
}

export function openAiFinishReason({ finishReason }: GenerationResult): 'stop' | 'length' | 'tool_calls' {
  if (finishReason === FinishReason.TOOL_CALLS) return 'tool_calls';
  return finishReason === FinishReason.LENGTH ? 'length' : 'stop';
}

/** One server-sent event without a name. */
export function dataEvent(json: string): string {
  return `data: ${json}\n\n`;
}

export const DONE = dataEvent('[DONE]');
