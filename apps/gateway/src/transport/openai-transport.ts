import { type Agent, type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type ErrorCode, ServiceError } from '@mlx-serving/service-kit';
import type { WorkerGenerateRequest } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { OpenAiAnswer } from './openai-answer.ts';
import { toOpenAiRequest } from './openai-request.ts';
import { SseReader } from './sse-reader.ts';
import type { TokenStream, TokenStreamListener, TokenStreamOptions, TokenTransport } from './token-transport.ts';
import { TurnShare } from './turn-share.ts';

export interface OpenAiTransportOptions {
  /** Up to and with `/v1`. */
  readonly base: URL;
  readonly agent: Agent;
  readonly headers: Readonly<Record<string, string>>;
  /** The name by which that server knows the model. Default: the request's own. */
  readonly model: string | undefined;
}

const MAX_ERROR_BYTES = 64 * 1024;

/** Token streams from a server of OpenAI's API over HTTP/1.1. What such a server cannot do is refused, never left out silently. */
export class OpenAiTransport implements TokenTransport {
  readonly #options: OpenAiTransportOptions;

  constructor(options: OpenAiTransportOptions) {
    this.#options = options;
  }

  open(request: WorkerGenerateRequest, listener: TokenStreamListener, { timeoutMs, traceparent }: TokenStreamOptions = {}): TokenStream {
    const { base, agent, headers, model } = this.#options;
    const { path, body } = toOpenAiRequest(request, model);
    const text = JSON.stringify(body);
    const url = new URL(`${base.pathname}${path}`, base);
    const open = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const settings = { method: 'POST', headers: { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), 'accept': 'text/event-stream', 'x-request-id': request.requestId, ...(traceparent ? { traceparent } : {}) } };
    const send = (fresh: boolean): ClientRequest => open(url, { ...settings, agent: fresh ? false : agent }).end(text);
    const stream = new OpenAiTokenStream(send, listener, timeoutMs);
    if (request.resumeTokenIds.length > 0) stream.refuse(errors.CANNOT_CONTINUE());
    else stream.start();
    return stream;
  }

  close(): void {
    this.#options.agent.destroy();
  }
}

class OpenAiTokenStream implements TokenStream {
  readonly #send: (fresh: boolean) => ClientRequest;
  #request: ClientRequest | undefined;
  readonly #listener: TokenStreamListener;
  readonly #answer: OpenAiAnswer;
  readonly #deadline: NodeJS.Timeout | undefined;
  readonly #share = new TurnShare(() => this.#response?.pause(), () => this.#readOn());
  #response: IncomingMessage | undefined;
  #paused = false;
  #over = false;

  /** @param send sends the request, over a new connection when `fresh` is true */
  constructor(send: (fresh: boolean) => ClientRequest, listener: TokenStreamListener, timeoutMs: number | undefined) {
    this.#send = send;
    this.#listener = listener;
    this.#answer = new OpenAiAnswer((response) => {
      if (!this.#over) listener.response(response);
    });
    this.#deadline = timeoutMs === undefined ? undefined : setTimeout(() => this.refuse(new ServiceError('DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED', 'Deadline exceeded')), timeoutMs);
  }

  start(): void {
    this.#request = this.#follow(this.#send(false));
  }

  pause(): void {
    this.#paused = true;
    this.#response?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#readOn();
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#deadline);
    this.#request?.destroy();
  }

  /** Ends it from this side, in a moment. */
  refuse(error: ServiceError): void {
    if (this.#over) return;
    this.cancel();
    queueMicrotask(() => this.#listener.ended(error));
  }

  #follow(request: ClientRequest): ClientRequest {
    request.on('response', (response) => this.#onHead(response));
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#over) return;
      // A connection that had been idle, closed by the server just as it was taken: that says nothing of the server.
      const wasStale = request.reusedSocket && !this.#response && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (wasStale) this.#request = this.#follow(this.#send(true));
      else this.#lost();
    });
    return request;
  }

  #onHead(response: IncomingMessage): void {
    this.#response = response;
    response.setEncoding('utf8');
    response.on('error', () => this.#lost());
    response.on('aborted', () => this.#lost());
    if (response.statusCode === 200) this.#readEvents(response);
    else readStart(response).then((text) => this.#end(refusal(response, text)), () => this.#lost());
  }

  #readOn(): void {
    if (!this.#paused && !this.#share.aside) this.#response?.resume();
  }

  #readEvents(response: IncomingMessage): void {
    const reader = new SseReader((data) => {
      if (!this.#over) this.#answer.take(data);
    });
    response.on('data', (text: string) => {
      if (this.#over) return;
      this.#share.took(text.length);
      try {
        reader.push(text);
      } catch (error) {
        this.refuse(error instanceof ServiceError ? error : errors.UPSTREAM_PROTOCOL({}, { cause: error }));
      }
    });
    response.on('end', () => {
      if (this.#over) return;
      try {
        if (this.#answer.finish()) this.#end();
        else this.#lost();
      } catch (error) {
        this.refuse(errors.UPSTREAM_PROTOCOL({}, { cause: error }));
      }
    });
    if (this.#paused) response.pause();
  }

  /** Before the first token another worker may try; after it nobody knows the tokens from which to go on. */
  #lost(): void {
    if (this.#answer.started) this.#end(errors.UPSTREAM_CUT());
    else this.#end(new ServiceError('UNAVAILABLE', 'UNAVAILABLE', 'The server cannot be reached.'));
  }

  #end(error?: ServiceError): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#deadline);
    this.#listener.ended(error);
  }
}

/** The beginning of an answer that is an error. */
async function readStart(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of response as AsyncIterable<string>) {
    text += part;
    if (text.length > MAX_ERROR_BYTES) break;
  }
  return text;
}

const CODES: Record<number, [ErrorCode, string]> = {
  400: ['INVALID_ARGUMENT', 'UPSTREAM_REFUSED'],
  404: ['NOT_FOUND', 'MODEL_NOT_FOUND'],
  413: ['INVALID_ARGUMENT', 'UPSTREAM_REFUSED'],
  422: ['INVALID_ARGUMENT', 'UPSTREAM_REFUSED'],
  429: ['RESOURCE_EXHAUSTED', 'QUEUE_FULL'],
  502: ['UNAVAILABLE', 'UNAVAILABLE'],
  503: ['UNAVAILABLE', 'UNAVAILABLE'],
  504: ['UNAVAILABLE', 'UNAVAILABLE'],
};

/** A refusal of the request is passed on with the server's own words; a fault of the server's is not. */
function refusal({ statusCode = 0, headers }: IncomingMessage, text: string): ServiceError {
  const [code, reason] = CODES[statusCode] ?? ['INTERNAL', 'UPSTREAM_ERROR'];
  const seconds = Number(headers['retry-after']);
  const isClients = code === 'INVALID_ARGUMENT' || code === 'NOT_FOUND';
  const message = (isClients && messageIn(text)) || (code === 'RESOURCE_EXHAUSTED' ? 'The server has too many requests already.' : 'The server that should serve this request failed.');
  return new ServiceError(code, reason, message, { cause: `status ${statusCode}`, ...(Number.isFinite(seconds) && seconds > 0 ? { retryAfterMs: seconds * 1_000 } : {}) });
}

function messageIn(text: string): string | undefined {
  try {
    const { error, message } = JSON.parse(text) as { error?: { message?: unknown } | string; message?: unknown };
    const found = typeof error === 'object' && error !== null ? error.message : (error ?? message);
    return typeof found === 'string' && found !== '' ? found.slice(0, 500) : undefined;
  } catch {
    return undefined;
  }
}
