import { type ChannelInterface, type Client, Metadata, status, type StatusObject } from '@grpc/grpc-js';
import { methodDefinition, Worker, type WorkerGenerateRequest, type WorkerGenerateResponse } from '@mlx-serving/contracts';
import { decodeResponse } from './decode-response.ts';
import { encodeRequest } from './encode-request.ts';
import { GrpcStatusError } from './grpc-status-error.ts';
import { NOBODY, type TokenStream, type TokenStreamListener, type TokenStreamOptions, type TokenTransport } from './token-transport.ts';
import { TurnShare } from './turn-share.ts';

const { path } = methodDefinition(Worker.method.generate);

/**
 * Token streams over a channel of grpc-js. Its calls are used without the readable streams that its clients put on top of
 * them, which cost a third of a stream's processor time.
 */
export class GrpcJsTransport implements TokenTransport {
  readonly #channel: ChannelInterface;

  /** @param client stays its owner's, who closes it */
  constructor(client: Client) {
    this.#channel = client.getChannel();
  }

  open(request: WorkerGenerateRequest, listener: TokenStreamListener, { timeoutMs, traceparent }: TokenStreamOptions = {}): TokenStream {
    const deadline = timeoutMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeoutMs;
    const metadata = new Metadata();
    if (traceparent) metadata.set('traceparent', traceparent);
    return new GrpcJsStream(this.#channel.createCall(path, deadline, null, null, null), metadata, encodeRequest(request), listener);
  }

  close(): void {
    // The channel is its owner's.
  }
}

class GrpcJsStream implements TokenStream {
  readonly #call: ReturnType<ChannelInterface['createCall']>;
  #listener: TokenStreamListener;
  readonly #share = new TurnShare(() => undefined, () => this.#readOn());
  #paused = false;
  /** A message has come while paused or aside, and the next is not asked for before the reader goes on. */
  #readOwed = false;
  #over = false;

  constructor(call: ReturnType<ChannelInterface['createCall']>, metadata: Metadata, request: Buffer, listener: TokenStreamListener) {
    this.#call = call;
    this.#listener = listener;
    call.start(metadata, {
      onReceiveMetadata: () => undefined,
      onReceiveMessage: (message: Buffer) => this.#onMessage(message),
      onReceiveStatus: (ended) => this.#onStatus(ended),
    });
    call.sendMessageWithContext({}, request);
    call.halfClose();
    call.startRead();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#readOn();
  }

  cancel(): void {
    if (this.#over) return;
    this.#leave();
    this.#call.cancelWithStatus(status.CANCELLED, 'Cancelled on client');
  }

  #readOn(): void {
    if (this.#over || !this.#readOwed || this.#paused || this.#share.aside) return;
    this.#readOwed = false;
    this.#call.startRead();
  }

  #onMessage(message: Buffer): void {
    if (this.#over) return;
    this.#share.took(message.length);
    let response: WorkerGenerateResponse;
    try {
      response = decodeResponse(message);
    } catch {
      const listener = this.#listener;
      this.cancel();
      listener.ended(new GrpcStatusError(status.INTERNAL, 'The answer cannot be read.'));
      return;
    }
    this.#listener.response(response);
    this.#readOwed = true;
    this.#readOn();
  }

  #onStatus({ code, details, metadata }: StatusObject): void {
    if (this.#over) return;
    this.#leave().ended(code === status.OK ? undefined : new GrpcStatusError(code, details, metadata));
  }

  /** @returns the listener, who is told nothing more from here on */
  #leave(): TokenStreamListener {
    const listener = this.#listener;
    this.#over = true;
    this.#listener = NOBODY;
    return listener;
  }
}
