import type { AnswerFormat, WholeChoice } from '../openai/answer-format.ts';
import { ForcedCallReader } from '../openai/forced-call.ts';
import { callsOf, logprobsOf, type ResponseFormatOptions } from './response-items.ts';
import { newId, type OutputItem, outputText, responseObject, statusOfResult } from './response-object.ts';
import { ResponseStream } from './response-stream.ts';

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
