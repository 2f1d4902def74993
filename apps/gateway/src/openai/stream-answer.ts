import type { ServerResponse } from 'node:http';
import type { Decision, Token } from '@mlx-serving/contracts';
import type { ServiceError } from '@mlx-serving/service-kit';
import { ChunkedBody } from '../http/chunked-body.ts';
import { BackPressure, type WriteStall } from '../generation/back-pressure.ts';
import type { Flow, GenerationResult, GenerationSink } from '../generation/generation-types.ts';
import type { StreamFormat } from './answer-format.ts';
import type { AnswerPlan } from './answer-plan.ts';
import { usageOf } from './answer-usage.ts';
import { decisionHeaders, QUEUE_POSITION_HEADER } from './decision-headers.ts';

/** A comment says that the answer is still to come, until its first token. */
const HEARTBEAT_MS = 15_000;

/**
 * Writes the answers to one request as server-sent events. The head waits for the first token or the first heartbeat, so
 * that an earlier error keeps its status; head and first token go out at once, with what came in the same packet; later
 * tokens that arrive within one turn of the event loop share one write.
 */
export class StreamAnswer {
  readonly #response: ServerResponse;
  readonly #plan: AnswerPlan;
  readonly #results: (GenerationResult | undefined)[] = [];
  readonly #pressure: BackPressure;
  #format: StreamFormat | undefined;
  #body: ChunkedBody | undefined;
  #pending = '';
  #scheduled = false;
  #heartbeat: NodeJS.Timeout | undefined;
  #position: (() => number) | undefined;

  constructor(response: ServerResponse, plan: AnswerPlan, stall?: WriteStall) {
    this.#response = response;
    this.#pressure = new BackPressure(stall);
    this.#plan = plan;
  }

  sink(choice: number): GenerationSink {
    return {
      decided: (decision) => this.#decided(choice, decision),
      queued: (position) => this.#queued(choice, position),
      tokens: (tokens, model, flow) => this.#tokens(choice, tokens, model, flow),
      finished: (result, model) => this.#finished(choice, result, model),
    };
  }

  finish(): void {
    this.#pending += this.#open(this.#plan.model).closing(usageOf(this.#results, this.#plan.choicesPerPrompt));
    this.#end();
  }

  /** An error after the head is out: an event of its own, and no [DONE]. */
  failed(error: ServiceError): void {
    this.#pending += this.#open(this.#plan.model).failed(error);
    this.#end();
  }

  release(): void {
    this.#pressure.release();
    clearInterval(this.#heartbeat);
  }

  #decided(choice: number, decision: Decision): void {
    // A request that moves to another variant is decided anew.
    if (choice !== 0 || this.#response.headersSent) return;
    for (const [name, value] of Object.entries(decisionHeaders(decision))) this.#response.setHeader(name, value);
    this.#heartbeat ??= setInterval(() => this.#beat(), HEARTBEAT_MS);
  }

  #queued(choice: number, position: () => number): void {
    if (choice !== 0) return;
    this.#position = position;
    if (!this.#response.headersSent) this.#response.setHeader(QUEUE_POSITION_HEADER, position());
  }

  #tokens(choice: number, tokens: readonly Token[], model: string, flow: Flow): void {
    this.#pressure.follow(choice, flow);
    const isFirst = this.#format === undefined;
    this.#pending += this.#open(model).tokens(choice, tokens);
    if (isFirst) this.#flushSoon();
    else this.#schedule();
  }

  #finished(choice: number, result: GenerationResult, model: string): void {
    this.#results[choice] = result;
    this.#pressure.ended(choice);
    this.#pending += this.#open(model).ended(choice, result);
    if (this.#plan.choices.length > 1) this.#schedule();
  }

  #beat(): void {
    if (this.#format || this.#response.destroyed || this.#response.writableEnded) return;
    this.#writeHead();
    this.#body?.write(`: the answer is still to come${this.#position ? `; requests before it: ${this.#position()}` : ''}\n\n`);
  }

  #open(model: string): StreamFormat {
    if (this.#format) return this.#format;
    clearInterval(this.#heartbeat);
    this.#writeHead();
    this.#format = this.#plan.format.stream(model);
    return this.#format;
  }

  #writeHead(): void {
    if (this.#body) return;
    this.#response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' });
    this.#body = new ChunkedBody(this.#response);
  }

  /** Behind the callbacks and promises of what has just arrived, and before anything else: the whole of a short answer is one write. */
  #flushSoon(): void {
    this.#scheduled = true;
    void Promise.resolve().then(() => process.nextTick(this.#flushScheduled));
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#flushScheduled);
  }

  readonly #flushScheduled = (): void => {
    this.#scheduled = false;
    this.#flush();
  };

  #flush(): void {
    if (this.#pending === '' || this.#response.writableEnded || this.#response.destroyed) return;
    const text = this.#pending;
    this.#pending = '';
    if (!this.#body?.write(text)) this.#pressure.hold(this.#response);
  }

  #end(): void {
    const text = this.#pending;
    this.#pending = '';
    this.#body?.end(text);
  }
}
