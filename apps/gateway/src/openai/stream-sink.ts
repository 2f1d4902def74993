import type { ServerResponse } from 'node:http';
import type { Decision, Token } from '@mlx-serving/contracts';
import type { ServiceError } from '@mlx-serving/service-kit';
import type { Flow, GenerationResult, GenerationSink } from '../generation/generation-types.ts';
import type { AnswerFormat, CreateAnswerFormat } from './answer-format.ts';
import { decisionHeaders } from './decision-headers.ts';
import { toOpenAiError } from './openai-error.ts';

/**
 * Writes a generation as server-sent events. The head waits for the first token, so that an earlier error keeps its
 * status; head and first token go out at once; later tokens that arrive within one turn of the event loop share one write.
 */
export class StreamSink implements GenerationSink {
  readonly #response: ServerResponse;
  readonly #createFormat: CreateAnswerFormat;
  readonly #includeUsage: boolean;
  #format: AnswerFormat | undefined;
  #pending = '';
  #scheduled = false;
  #flow: Flow | undefined;

  constructor(response: ServerResponse, createFormat: CreateAnswerFormat, includeUsage: boolean) {
    this.#response = response;
    this.#createFormat = createFormat;
    this.#includeUsage = includeUsage;
  }

  decided(decision: Decision): void {
    for (const [name, value] of Object.entries(decisionHeaders(decision))) this.#response.setHeader(name, value);
  }

  tokens(tokens: readonly Token[], model: string, flow: Flow): void {
    this.#flow = flow;
    const isFirst = this.#format === undefined;
    const format = this.#open(model);
    for (const { text } of tokens) if (text !== '') this.#add(format.text(text));
    if (isFirst) this.#flush();
    else this.#schedule();
  }

  finished(result: GenerationResult, model: string): void {
    const format = this.#open(model);
    this.#add(format.closing(result));
    if (this.#includeUsage) this.#add(format.usage(result));
    this.#add('[DONE]');
    this.#end();
  }

  /** An error after the head is out: an event of its own, and no [DONE]. */
  failed(error: ServiceError): void {
    this.#add(JSON.stringify(toOpenAiError(error)));
    this.#end();
  }

  #open(model: string): AnswerFormat {
    if (this.#format) return this.#format;
    this.#response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' });
    this.#format = this.#createFormat(model, this.#includeUsage);
    const opening = this.#format.opening();
    if (opening !== undefined) this.#add(opening);
    return this.#format;
  }

  #add(json: string): void {
    this.#pending += `data: ${json}\n\n`;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#pending === '' || this.#response.writableEnded || this.#response.destroyed) return;
    const text = this.#pending;
    this.#pending = '';
    if (this.#response.write(text)) return;
    this.#flow?.pause();
    this.#response.once('drain', () => this.#flow?.resume());
  }

  #end(): void {
    const text = this.#pending;
    this.#pending = '';
    this.#response.end(text);
  }
}
