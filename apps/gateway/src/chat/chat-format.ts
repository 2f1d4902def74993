import { randomUUID } from 'node:crypto';
import { FinishReason, type Token, type ToolCall } from '@mlx-serving/contracts';
import type { GenerationResult } from '../generation/generation-types.ts';
import { type AnswerFormat, dataEvent, DONE, openAiFinishReason, openAiUsage, type StreamFormat, type WholeChoice } from '../openai/answer-format.ts';
import { type ForcedCall, ForcedCallReader } from '../openai/forced-call.ts';
import { chatLogprob } from '../openai/logprobs.ts';
import { toOpenAiError } from '../openai/openai-error.ts';

export interface ChatFormatOptions {
  readonly includeUsage: boolean;
  /** How many of the likeliest tokens are shown; undefined without log probabilities. */
  readonly topLogprobs: number | undefined;
  readonly forced: ForcedCall | undefined;
  readonly parallel: boolean;
}

/** `chat.completion` and its chunks. */
export function createChatFormat(options: ChatFormatOptions): AnswerFormat {
  const base = { id: `chatcmpl-${randomUUID().replaceAll('-', '')}`, created: Math.floor(Date.now() / 1_000) };
  return {
    stream: (model) => new ChatStream({ ...base, model }, options),
    whole: (model, choices, usage) =>
      JSON.stringify({ id: base.id, object: 'chat.completion', created: base.created, model, choices: choices.map((choice, index) => wholeChoice(choice, index, options)), usage: openAiUsage(usage) }),
  };
}

function wholeChoice({ text, tokens, result }: WholeChoice, index: number, { topLogprobs, forced, parallel }: ChatFormatOptions) {
  const logprobs = topLogprobs === undefined ? null : { content: tokens.map((token) => chatLogprob(token, topLogprobs)), refusal: null };
  const finish_reason = finishReason(result, forced);
  if (forced) {
    const reader = new ForcedCallReader(forced);
    const json = reader.add(text) + reader.finish(finish_reason !== 'length');
    const calls = reader.name === undefined ? [] : [{ id: reader.id, type: 'function', function: { name: reader.name, arguments: json } }];
    return { index, message: { role: 'assistant', content: null, refusal: null, tool_calls: calls }, logprobs, finish_reason };
  }
  const calls = shownCalls(result, parallel).map(({ id, name, argumentsJson }) => ({ id, type: 'function', function: { name, arguments: argumentsJson } }));
  const content = calls.length > 0 && text === '' ? null : text;
  return { index, message: { role: 'assistant', content, refusal: null, ...(calls.length > 0 ? { tool_calls: calls } : {}) }, logprobs, finish_reason };
}

function shownCalls({ toolCalls }: GenerationResult, parallel: boolean): readonly ToolCall[] {
  return parallel ? toolCalls : toolCalls.slice(0, 1);
}

function finishReason(result: GenerationResult, forced: ForcedCall | undefined): string {
  return forced && result.finishReason === FinishReason.STOP ? forced.finishReason : openAiFinishReason(result);
}

interface ChunkParts {
  /** Up to the text of the content. */
  readonly content: string;
  readonly head: string;
}

/** The chunks of one stream. What is constant is written once, so that a token costs one stringify. */
class ChatStream implements StreamFormat {
  readonly #options: ChatFormatOptions;
  readonly #head: string;
  readonly #tail: string;
  readonly #choices: (ChunkParts | undefined)[] = [];
  readonly #calls: (ForcedCallReader | undefined)[] = [];
  /** Choices whose call has its name out. */
  #named: Set<number> | undefined;
  readonly #contentTail: string;

  constructor(base: { id: string; created: number; model: string }, options: ChatFormatOptions) {
    this.#options = options;
    this.#head = `{"id":"${base.id}","object":"chat.completion.chunk","created":${base.created},"model":${JSON.stringify(base.model)}`;
    this.#tail = options.includeUsage ? ',"usage":null}' : '}';
    this.#contentTail = `},"logprobs":null,"finish_reason":null}]${this.#tail}\n\n`;
  }

  tokens(choice: number, tokens: readonly Token[]): string {
    const opening = this.#choices[choice] ? '' : this.#open(choice);
    if (this.#calls[choice]) return opening + this.#arguments(choice, tokens);
    if (this.#options.topLogprobs !== undefined) return opening + tokens.map((token) => this.#withLogprobs(choice, token)).join('');
    const { content } = this.#choices[choice]!;
    let events = opening;
    for (const { text } of tokens) if (text !== '') events += content + JSON.stringify(text) + this.#contentTail;
    return events;
  }

  ended(choice: number, result: GenerationResult): string {
    const { forced, parallel } = this.#options;
    let events = this.#choices[choice] ? '' : this.#open(choice);
    const reason = finishReason(result, forced);
    const rest = this.#calls[choice]?.finish(reason !== 'length') ?? '';
    if (rest !== '') events += this.#chunk(choice, { tool_calls: [{ index: 0, function: { arguments: rest } }] });
    shownCalls(result, parallel).forEach(({ id, name, argumentsJson }, index) => {
      events += this.#chunk(choice, { tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] });
      events += this.#chunk(choice, { tool_calls: [{ index, function: { arguments: argumentsJson } }] });
    });
    return events + this.#event(choice, '{}', `"${reason}"`);
  }

  closing(usage: Parameters<StreamFormat['closing']>[0]): string {
    const last = this.#options.includeUsage ? dataEvent(`${this.#head},"choices":[],"usage":${JSON.stringify(openAiUsage(usage))}}`) : '';
    return last + DONE;
  }

  failed(error: Parameters<StreamFormat['failed']>[0]): string {
    return dataEvent(JSON.stringify(toOpenAiError(error)));
  }

  #open(choice: number): string {
    const { forced } = this.#options;
    const head = `data: ${this.#head},"choices":[{"index":${choice},"delta":`;
    this.#choices[choice] = { head, content: `${head}{"content":` };
    if (forced) this.#calls[choice] = new ForcedCallReader(forced);
    return this.#event(choice, forced ? '{"role":"assistant","content":null,"refusal":null}' : '{"role":"assistant","content":"","refusal":null}');
  }

  #chunk(choice: number, delta: object, logprobs: object | null = null): string {
    return this.#event(choice, JSON.stringify(delta), 'null', JSON.stringify(logprobs));
  }

  /** @param delta as JSON, as the others */
  #event(choice: number, delta: string, reason = 'null', logprobs = 'null'): string {
    return `${this.#choices[choice]!.head}${delta},"logprobs":${logprobs},"finish_reason":${reason}}]${this.#tail}\n\n`;
  }

  #withLogprobs(choice: number, token: Token): string {
    return this.#chunk(choice, { content: token.text }, { content: [chatLogprob(token, this.#options.topLogprobs ?? 0)], refusal: null });
  }

  #arguments(choice: number, tokens: readonly Token[]): string {
    const call = this.#calls[choice]!;
    const isNamed = this.#named?.has(choice) ?? false;
    const text = call.add(tokens.map((token) => token.text).join(''));
    if (call.name === undefined) return '';
    (this.#named ??= new Set()).add(choice);
    const opening = isNamed ? '' : this.#chunk(choice, { tool_calls: [{ index: 0, id: call.id, type: 'function', function: { name: call.name, arguments: '' } }] });
    return text === '' ? opening : opening + this.#chunk(choice, { tool_calls: [{ index: 0, function: { arguments: text } }] });
  }
}
