import type { Token, ToolCall } from '@mlx-serving/contracts';
import type { GenerationResult } from '../generation/generation-types.ts';
import type { AnswerFormat, WholeChoice } from '../openai/answer-format.ts';
import { type ForcedCall, ForcedCallReader } from '../openai/forced-call.ts';
import { type ChatLogprob, chatLogprob } from '../openai/logprobs.ts';
import { newId, type OutputItem, outputText, responseObject, statusOfResult } from './response-object.ts';
import type { ResponseParameters } from './response-parameters.ts';
import { ResponseStream } from './response-stream.ts';

export interface ResponseFormatOptions {
  readonly asked: ResponseParameters;
  readonly topLogprobs: number | undefined;
  readonly forced: ForcedCall | undefined;
  readonly parallel: boolean;
}

/** OpenAI's response object, and the typed events of its stream. */
export function createResponseFormat(options: ResponseFormatOptions): AnswerFormat {
  const base = { id: newId('resp'), createdAt: Math.floor(Date.now() / 1_000) };
  return {
    stream: (model) => new ResponseStream({ ...base, model }, options),
    whole: (model, [choice], usage) => {
      const status = choice ? statusOfResult(choice.result) : 'incomplete';
      return JSON.stringify(responseObject({ ...base, model }, options.asked, { status, output: choice ? outputOf(choice, options) : [], usage }));
    },
  };
}

function outputOf({ text, tokens, result }: WholeChoice, options: ResponseFormatOptions): OutputItem[] {
  const status = statusOfResult(result);
  const { forced } = options;
  if (forced) {
    const reader = new ForcedCallReader(forced);
    const json = reader.add(text) + reader.finish(status === 'completed');
    return reader.name === undefined ? [] : [{ id: newId('fc'), type: 'function_call', status, call_id: reader.id, name: reader.name, arguments: json }];
  }
  const calls = callsOf(result, options);
  const message: OutputItem = { id: newId('msg'), type: 'message', status, role: 'assistant', content: [outputText(text, logprobsOf(tokens, options))] };
  return [...(text === '' && calls.length > 0 ? [] : [message]), ...calls];
}

/** The calls that the model has made of itself. */
export function callsOf({ toolCalls }: GenerationResult, { parallel }: ResponseFormatOptions): Extract<OutputItem, { type: 'function_call' }>[] {
  const shown: readonly ToolCall[] = parallel ? toolCalls : toolCalls.slice(0, 1);
  return shown.map(({ id, name, argumentsJson }) => ({ id: newId('fc'), type: 'function_call', status: 'completed', call_id: id, name, arguments: argumentsJson }));
}

export function logprobsOf(tokens: readonly Token[], { topLogprobs }: ResponseFormatOptions): ChatLogprob[] {
  return topLogprobs === undefined ? [] : tokens.map((token) => chatLogprob(token, topLogprobs));
}
