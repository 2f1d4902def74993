import { randomUUID } from 'node:crypto';
import type { Token } from '@mlx-serving/contracts';
import type { GenerationResult } from '../generation/generation-types.ts';
import { type AnswerFormat, dataEvent, DONE, openAiFinishReason, openAiUsage, type StreamFormat, type WholeChoice } from '../openai/answer-format.ts';
import { textLogprobs } from '../openai/logprobs.ts';
import { toOpenAiError } from '../openai/openai-error.ts';

export interface CompletionFormatOptions {
  readonly includeUsage: boolean;
  /** How many of the likeliest tokens are shown; undefined without log probabilities. */
  readonly topLogprobs: number | undefined;
  /** What goes before each answer, by its index. */
  readonly echo: (choice: number) => string;
}

/** `text_completion`, whole and in chunks. */
export function createCompletionFormat(options: CompletionFormatOptions): AnswerFormat {
  const base = { id: `cmpl-${randomUUID().replaceAll('-', '')}`, object: 'text_completion', created: Math.floor(Date.now() / 1_000) };
  const { topLogprobs, echo } = options;
  const wholeChoice = ({ text, tokens, result }: WholeChoice, index: number) => ({
    text: echo(index) + text,
    index,
    logprobs: topLogprobs === undefined ? null : textLogprobs(tokens, topLogprobs, 0),
    finish_reason: openAiFinishReason(result),
  });
  return {
    stream: (model) => new CompletionStream({ ...base, model }, options),
    whole: (model, choices, usage) => JSON.stringify({ ...base, model, choices: choices.map(wholeChoice), usage: openAiUsage(usage) }),
  };
}

/** The chunks of one stream. What is constant is written once, so that a token costs one stringify. */
class CompletionStream implements StreamFormat {
  readonly #options: CompletionFormatOptions;
  readonly #head: string;
  readonly #tail: string;
  /** Characters of each answer that are out. */
  readonly #written: number[] = [];

  constructor(base: object, options: CompletionFormatOptions) {
    this.#options = options;
    this.#head = JSON.stringify(base).slice(0, -1);
    this.#tail = options.includeUsage ? ',"usage":null}' : '}';
  }

  tokens(choice: number, tokens: readonly Token[]): string {
    const { topLogprobs } = this.#options;
    let events = this.#open(choice);
    for (const token of tokens) {
      if (topLogprobs !== undefined) events += this.#chunk(choice, token.text, textLogprobs([token], topLogprobs, this.#written[choice]!));
      else if (token.text !== '') events += this.#chunk(choice, token.text);
      this.#written[choice]! += token.text.length;
    }
    return events;
  }

  ended(choice: number, result: GenerationResult): string {
    return this.#open(choice) + this.#chunk(choice, '', null, openAiFinishReason(result));
  }

  closing(usage: Parameters<StreamFormat['closing']>[0]): string {
    const last = this.#options.includeUsage ? dataEvent(`${this.#head},"choices":[],"usage":${JSON.stringify(openAiUsage(usage))}}`) : '';
    return last + DONE;
  }

  failed(error: Parameters<StreamFormat['failed']>[0]): string {
    return dataEvent(JSON.stringify(toOpenAiError(error)));
  }

  #open(choice: number): string {
    if (this.#written[choice] !== undefined) return '';
    this.#written[choice] = 0;
    const echo = this.#options.echo(choice);
    return echo === '' ? '' : this.#chunk(choice, echo);
  }

  #chunk(choice: number, text: string, logprobs: object | null = null, reason: string | null = null): string {
    return `data: ${this.#head},"choices":[{"text":${JSON.stringify(text)},"index":${choice},"logprobs":${logprobs === null ? 'null' : JSON.stringify(logprobs)},"finish_reason":${JSON.stringify(reason)}}]${this.#tail}\n\n`;
  }
}
