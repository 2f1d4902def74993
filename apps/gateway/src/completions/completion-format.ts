import { randomUUID } from 'node:crypto';
import { type CreateAnswerFormat, openAiFinishReason, openAiUsage } from '../openai/answer-format.ts';

/** `text_completion`, whole and in chunks. */
export const createCompletionFormat: CreateAnswerFormat = (model, includeUsage) => {
  const base = { id: `cmpl-${randomUUID().replaceAll('-', '')}`, object: 'text_completion', created: Math.floor(Date.now() / 1_000), model };
  const head = JSON.stringify(base).slice(0, -1);
  const tail = includeUsage ? ',"usage":null}' : '}';
  const chunk = (text: string, finishReason: string): string => `${head},"choices":[{"text":${text},"index":0,"logprobs":null,"finish_reason":${finishReason}}]${tail}`;
  return {
    opening: () => undefined,
    text: (text) => chunk(JSON.stringify(text), 'null'),
    closing: (result) => chunk('""', JSON.stringify(openAiFinishReason(result))),
    usage: (result) => `${head},"choices":[],"usage":${JSON.stringify(openAiUsage(result))}}`,
    whole: (text, result) =>
      JSON.stringify({ ...base, choices: [{ text, index: 0, logprobs: null, finish_reason: openAiFinishReason(result) }], usage: openAiUsage(result) }),
  };
};
