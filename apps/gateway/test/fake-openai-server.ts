import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { until } from '@mlx-serving/testing';

/** One request at the fake server, in the hands of the test. */
export interface OpenAiCall {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown>;
  readonly response: ServerResponse;
  gone: boolean;
}

/** A server of OpenAI's API, as others run it. */
export class FakeOpenAiServer {
  readonly calls: OpenAiCall[] = [];
  /** Whether it has /health, as vLLM and mlx_lm.server do; LM Studio and Ollama do not. */
  hasHealth = true;
  healthy = true;
  /** What it answers GET /v1/models with, and how often it was asked. */
  list: { status: number; body: unknown } = { status: 200, body: { object: 'list', data: [{ id: 'other', object: 'model', created: 1_700_000_000 }] } };
  listsAsked = 0;
  /** While set it closes a connection on which a second request comes, as one that has been idle for too long. */
  closesIdle = false;
  /** How often it did. */
  stale = 0;
  /** While set it answers /health and nothing else. */
  frozen = false;
  port = 0;
  readonly #used = new WeakSet<Socket>();
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  get address(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<this> {
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  async kill(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async call(index: number): Promise<OpenAiCall> {
    await until(() => this.calls.length > index);
    return this.calls[index] as OpenAiCall;
  }

  #answerList(response: ServerResponse): void {
    this.listsAsked++;
    if (this.frozen) return;
    response.writeHead(this.healthy ? this.list.status : 500, { 'content-type': 'application/json' }).end(JSON.stringify(this.list.body));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    if (path === '/health') return void response.writeHead(this.hasHealth ? (this.healthy ? 200 : 503) : 404).end('{}');
    if (path === '/v1/models') return this.#answerList(response);
    if (this.closesIdle && this.#used.has(request.socket)) {
      this.stale++;
      return void request.socket.destroy();
    }
    this.#used.add(request.socket);
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    const call: OpenAiCall = { path, headers: request.headers, body: JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>, response, gone: false };
    response.once('close', () => (call.gone = true));
    this.calls.push(call);
  }
}

/** Sends events and, after the last, the end of the answer. */
export function sendEvents({ response }: OpenAiCall, ...events: (object | string)[]): void {
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of events) response.write(typeof event === 'string' ? event : `data: ${JSON.stringify(event)}\n\n`);
}

export const delta = (content: string, finish: string | null = null): object => ({ id: 'x', model: 'other', choices: [{ index: 0, delta: { content }, finish_reason: finish }] });
export const usage = { id: 'x', model: 'other', choices: [], usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11, prompt_tokens_details: { cached_tokens: 4 } } };
