import { type Client, type ClientReadableStream, Metadata } from '@grpc/grpc-js';
import { methodDefinition, Worker, type WorkerGenerateRequest, type WorkerGenerateResponse } from '@mlx-serving/contracts';
import { decodeResponse } from './decode-response.ts';
import type { TokenStream, TokenStreamListener, TokenStreamOptions, TokenTransport } from './token-transport.ts';

const { path, requestSerialize } = methodDefinition(Worker.method.generate);

/** Token streams over a channel of grpc-js. */
export class GrpcJsTransport implements TokenTransport {
  readonly #channel: Client;

  /** @param channel stays its owner's, who closes it */
  constructor(channel: Client) {
    this.#channel = channel;
  }

  open(request: WorkerGenerateRequest, listener: TokenStreamListener, { timeoutMs, traceparent }: TokenStreamOptions = {}): TokenStream {
    const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
    const metadata = new Metadata();
    if (traceparent) metadata.set('traceparent', traceparent);
    return new GrpcJsStream(this.#channel.makeServerStreamRequest(path, requestSerialize as (value: WorkerGenerateRequest) => Buffer, decodeResponse, request, metadata, options), listener);
  }

  close(): void {
    // The channel is its owner's.
  }
}

class GrpcJsStream implements TokenStream {
  readonly #call: ClientReadableStream<WorkerGenerateResponse>;
  #over = false;

  constructor(call: ClientReadableStream<WorkerGenerateResponse>, listener: TokenStreamListener) {
    this.#call = call;
    call.on('data', (response: WorkerGenerateResponse) => {
      if (!this.#over) listener.response(response);
    });
    call.on('error', (error) => this.#end(listener, error));
    call.on('end', () => this.#end(listener));
  }

  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#call.cancel();
  }

  #end(listener: TokenStreamListener, error?: unknown): void {
    if (this.#over) return;
    this.#over = true;
    listener.ended(error);
  }
}
