import type { Token, ToolCall } from '@mlx-serving/contracts';
import type { GenerationResult } from '../generation/generation-types.ts';
import type { ForcedCall } from '../openai/forced-call.ts';
import { type ChatLogprob, chatLogprob } from '../openai/logprobs.ts';
import { newId, type OutputItem } from './response-object.ts';
import type { ResponseParameters } from './response-parameters.ts';

/** How one request wants its response. */
export interface ResponseFormatOptions {
  readonly asked: ResponseParameters;
  readonly topLogprobs: number | undefined;
  readonly forced: ForcedCall | undefined;
  readonly parallel: boolean;
}

/** The calls that the model has made of itself. */
export function callsOf({ toolCalls }: GenerationResult, { parallel }: ResponseFormatOptions): Extract<OutputItem, { type: 'function_call' }>[] {
  const shown: readonly ToolCall[] = parallel ? toolCalls : toolCalls.slice(0, 1);
  return shown.map(({ id, name, argumentsJson }) => ({ id: newId('fc'), type: 'function_call', status: 'completed', call_id: id, name, arguments: argumentsJson }));
}

export function logprobsOf(tokens: readonly Token[], { topLogprobs }: ResponseFormatOptions): ChatLogprob[] {
  return topLogprobs === undefined ? [] : tokens.map((token) => chatLogprob(token, topLogprobs));
}
