import { type ClientHttp2Stream, constants, type IncomingHttpHeaders, type IncomingHttpStatusHeader, type OutgoingHttpHeaders } from 'node:http2';
import { Worker, type WorkerGenerateRequest } from '@mlx-serving/contracts';
import { status } from '@grpc/grpc-js';
import { decodeResponse } from './decode-response.ts';
import { encodeRequest } from './encode-request.ts';
import { frame, FrameReader } from './frame-reader.ts';
import { GrpcStatusError, statusOfHttp, statusOfReset, statusOfTrailers } from './grpc-status-error.ts';
import { Http2Connection } from './http2-connection.ts';
import { MAX_MESSAGE_BYTES, NOBODY, type TokenStream, type TokenStreamListener, type TokenStreamOptions, type TokenTransport } from './token-transport.ts';
import { TurnShare } from './turn-share.ts';

const HEADERS: OutgoingHttpHeaders = Object.freeze({
  ':method': 'POST',
  ':path': `/${Worker.typeName}/${Worker.method.generate.name}`,
  'te': 'trailers',
  'content-type': 'application/grpc+proto',
  'user-agent': 'mlx-serving-gateway',
});

/** Token streams in gRPC's wire format on one raw HTTP/2 session, without a gRPC library between (SPEC T8). */
export class Http2Transport implements TokenTransport {
  readonly #connection: Http2Connection;

  /** @param address `host:port` */
  constructor(address: string) {
    this.#connection = new Http2Connection(address);
  }

  /** Connects before the first request needs it. */
  prepare(): void {
    this.#connection.prepare();
  }

  open(request: WorkerGenerateRequest, listener: TokenStreamListener, { timeoutMs, traceparent }: TokenStreamOptions = {}): TokenStream {
    const session = this.#connection.session();
    if (!session) return refused(listener);
    const timeout = timeoutMs === undefined ? {} : { 'grpc-timeout': `${Math.max(1, Math.round(timeoutMs))}m` };
    const headers = timeoutMs === undefined && !traceparent ? HEADERS : { ...HEADERS, ...timeout, ...(traceparent ? { traceparent } : {}) };
    const stream = session.request(headers, { endStream: false });
    stream.end(frame(encodeRequest(request)));
    return new Http2TokenStream(stream, listener, timeoutMs);
  }

  close(): void {
    this.#connection.close();
  }
}

/** The worker cannot be reached, and it is too early to try again. */
function refused(listener: TokenStreamListener): TokenStream {
  let over = false;
  queueMicrotask(() => {
    if (!over) listener.ended(new GrpcStatusError(status.UNAVAILABLE, 'The worker cannot be reached.'));
  });
  return { pause: () => undefined, resume: () => undefined, cancel: () => void (over = true) };
}

class Http2TokenStream implements TokenStream {
  readonly #stream: ClientHttp2Stream;
  #listener: TokenStreamListener;
  readonly #frames: FrameReader;
  readonly #deadline: NodeJS.Timeout | undefined;
  readonly #share: TurnShare;
  #trailers: IncomingHttpHeaders | undefined;
  #connectionLost = false;
  #paused = false;
  #over = false;

  constructor(stream: ClientHttp2Stream, listener: TokenStreamListener, timeoutMs: number | undefined) {
    this.#stream = stream;
    this.#listener = listener;
    this.#frames = new FrameReader(MAX_MESSAGE_BYTES, (message) => {
      if (!this.#over) this.#listener.response(decodeResponse(message));
    });
    this.#share = new TurnShare(() => stream.pause(), () => this.#readOn());
    this.#deadline = timeoutMs === undefined ? undefined : setTimeout(() => this.#abandon(new GrpcStatusError(status.DEADLINE_EXCEEDED, 'Deadline exceeded')), timeoutMs);
    stream.on('response', (headers) => this.#onHead(headers));
    stream.on('data', (bytes: Buffer) => this.#onData(bytes));
    stream.on('trailers', (trailers: IncomingHttpHeaders) => (this.#trailers = trailers));
    stream.on('error', (error: NodeJS.ErrnoException) => (this.#connectionLost ||= error.code !== 'ERR_HTTP2_STREAM_ERROR'));
    // Trailers may come while data is still unread; the end never does.
    stream.on('end', () => this.#trailers && this.#end(statusOfTrailers(this.#trailers)));
    stream.on('close', () => this.#onClose());
  }

  pause(): void {
    this.#paused = true;
    this.#stream.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#readOn();
  }

  cancel(): void {
    if (this.#over) return;
    this.#leave();
    this.#stream.close(constants.NGHTTP2_CANCEL);
    // What is buffered is thrown away, for a stream with unread data is never freed.
    this.#stream.resume();
  }

  #onHead(headers: IncomingHttpHeaders & IncomingHttpStatusHeader): void {
    if (headers['grpc-status'] !== undefined) this.#trailers = headers;
    else if (headers[':status'] !== 200 || !String(headers['content-type']).startsWith('application/grpc')) this.#abandon(statusOfHttp(headers[':status']));
  }

  #readOn(): void {
    // One that is over is read to its end, whatever it was told before.
    if (this.#over || !(this.#paused || this.#share.aside)) this.#stream.resume();
  }

  #onData(bytes: Buffer): void {
    if (this.#over) return;
    this.#share.took(bytes.length);
    try {
      this.#frames.push(bytes);
    } catch (error) {
      const code = error instanceof RangeError ? status.RESOURCE_EXHAUSTED : status.INTERNAL;
      this.#abandon(new GrpcStatusError(code, error instanceof Error ? error.message : 'The answer cannot be read.'));
    }
  }

  #onClose(): void {
    if (this.#trailers) return this.#end(statusOfTrailers(this.#trailers));
    const lost = this.#connectionLost || this.#stream.session === undefined || this.#stream.session.destroyed;
    this.#end(statusOfReset(this.#stream.rstCode, lost));
  }

  #abandon(error: GrpcStatusError): void {
    if (this.#over) return;
    const listener = this.#listener;
    this.cancel();
    listener.ended(error);
  }

  #end(error: GrpcStatusError | undefined): void {
    if (this.#over) return;
    this.#leave().ended(error ?? (this.#frames.inMessage ? new GrpcStatusError(status.INTERNAL, 'The stream ended within a message.') : undefined));
  }

  /** @returns the listener, who is told nothing more from here on */
  #leave(): TokenStreamListener {
    const listener = this.#listener;
    this.#over = true;
    this.#listener = NOBODY;
    clearTimeout(this.#deadline);
    return listener;
  }
}
