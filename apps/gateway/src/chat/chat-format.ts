import { randomUUID } from 'node:crypto';
import { type CreateAnswerFormat, openAiFinishReason, openAiUsage } from '../openai/answer-format.ts';

/** `chat.completion` and its chunks. What is constant in a stream is written once, so that a token costs one stringify. */
export const createChatFormat: CreateAnswerFormat = (model, includeUsage) => {
  const base = { id: `chatcmpl-${randomUUID().replaceAll('-', '')}`, created: Math.floor(Date.now() / 1_000), model };
  const head = JSON.stringify({ id: base.id, object: 'chat.completion.chunk', created: base.created, model }).slice(0, -1);
  const tail = includeUsage ? ',"usage":null}' : '}';
  const chunk = (delta: string, finishReason: string): string =>
    `${head},"choices":[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finishReason}}]${tail}`;
  return {
    opening: () => chunk('{"role":"assistant","content":"","refusal":null}', 'null'),
    text: (text) => chunk(`{"content":${JSON.stringify(text)}}`, 'null'),
    closing: (result) => chunk('{}', JSON.stringify(openAiFinishReason(result))),
    usage: (result) => `${head},"choices":[],"usage":${JSON.stringify(openAiUsage(result))}}`,
    whole: (text, result) =>
      JSON.stringify({
        id: base.id,
        object: 'chat.completion',
        created: base.created,
        model,
        choices: [{ index: 0, message: { role: 'assistant', content: text, refusal: null }, logprobs: null, finish_reason: openAiFinishReason(result) }],
        usage: openAiUsage(result),
      }),
  };
};
