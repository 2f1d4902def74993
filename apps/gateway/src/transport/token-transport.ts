import type { WorkerGenerateRequest, WorkerGenerateResponse } from '@mlx-serving/contracts';

/** Takes what comes of one stream, in order. Nothing follows `ended`, and nothing at all follows a cancel. */
export interface TokenStreamListener {
  response(response: WorkerGenerateResponse): void;
  /** @param error absent when the worker ended the stream with OK; else a gRPC error, or a ServiceError */
  ended(error?: unknown): void;
}

/**
 * In the place of the listener of a stream that is over. Node keeps an HTTP/2 stream, and all that it leads to, until the
 * next full collection of the heap; with the request behind the listener that was several times as much.
 */
export const NOBODY: TokenStreamListener = { response: () => undefined, ended: () => undefined };

/** One stream of tokens on its way from a worker. */
export interface TokenStream {
  /** Stops reading: the worker is held back once the window of this one stream is full. */
  pause(): void;
  resume(): void;
  /** Ends the stream at the worker at once. Calling it again, or after the end, does nothing. */
  cancel(): void;
}

export interface TokenStreamOptions {
  /** Deadline from now, told to the worker, which ends the stream with DEADLINE_EXCEEDED. Default: none. */
  readonly timeoutMs?: number;
  /** Of the span that the stream belongs to, as W3C Trace Context writes it. */
  readonly traceparent?: string | undefined;
}

/** One way of carrying token streams. All ways behave the same (SPEC T8). */
export interface TokenTransport {
  open(request: WorkerGenerateRequest, listener: TokenStreamListener, options?: TokenStreamOptions): TokenStream;
  /** Ends what runs, and every connection. */
  close(): void;
}

/** Bytes that one stream may have on its way while nobody reads it: what a stalled client costs this process. */
export const STREAM_WINDOW_BYTES = 256 * 1024;
/** A longer message ends its stream with RESOURCE_EXHAUSTED. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
