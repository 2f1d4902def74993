import type { ServerResponse } from 'node:http';
import type { Decision, Token } from '@mlx-serving/contracts';
import type { GenerationResult, GenerationSink } from '../generation/generation-types.ts';
import type { CreateAnswerFormat } from './answer-format.ts';
import { decisionHeaders } from './decision-headers.ts';

/** Writes a generation as one JSON answer. */
export class WholeSink implements GenerationSink {
  readonly #response: ServerResponse;
  readonly #createFormat: CreateAnswerFormat;
  readonly #parts: string[] = [];

  constructor(response: ServerResponse, createFormat: CreateAnswerFormat) {
    this.#response = response;
    this.#createFormat = createFormat;
  }

  decided(decision: Decision): void {
    for (const [name, value] of Object.entries(decisionHeaders(decision))) this.#response.setHeader(name, value);
  }

  tokens(tokens: readonly Token[]): void {
    for (const { text } of tokens) this.#parts.push(text);
  }

  finished(result: GenerationResult, model: string): void {
    const body = this.#createFormat(model, false).whole(this.#parts.join(''), result);
    this.#response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body);
  }
}
