import { constants, type IncomingHttpHeaders } from 'node:http2';
import { Metadata, status } from '@grpc/grpc-js';

/** A stream that did not end with OK, in the shape in which grpc-js reports it. */
export class GrpcStatusError extends Error {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;

  constructor(code: number, details: string, metadata = new Metadata()) {
    super(`${code} ${status[code] ?? 'UNKNOWN'}: ${details}`);
    this.code = code;
    this.details = details;
    this.metadata = metadata;
  }
}

/** @returns what the trailers say, or undefined for OK */
export function statusOfTrailers(trailers: IncomingHttpHeaders): GrpcStatusError | undefined {
  const code = Number(trailers['grpc-status'] ?? status.UNKNOWN);
  if (code === 0) return undefined;
  return new GrpcStatusError(code in status ? code : status.UNKNOWN, unescape(String(trailers['grpc-message'] ?? '')), Metadata.fromHttp2Headers(trailers));
}

/** What an answer that is no gRPC means, after gRPC's own table. */
export function statusOfHttp(httpStatus: number | undefined): GrpcStatusError {
  const codes: Record<number, number> = { 400: status.INTERNAL, 401: status.UNAUTHENTICATED, 403: status.PERMISSION_DENIED, 404: status.UNIMPLEMENTED, 429: status.UNAVAILABLE, 502: status.UNAVAILABLE, 503: status.UNAVAILABLE, 504: status.UNAVAILABLE };
  return new GrpcStatusError(codes[httpStatus ?? 0] ?? status.UNKNOWN, `The worker answered with HTTP status ${httpStatus}.`);
}

/** What a stream without trailers means: the connection was lost, or the worker reset it. */
export function statusOfReset(resetCode: number, connectionLost: boolean): GrpcStatusError {
  if (connectionLost || resetCode === constants.NGHTTP2_REFUSED_STREAM) return new GrpcStatusError(status.UNAVAILABLE, 'The connection to the worker is lost.');
  const codes: Record<number, number> = {
    [constants.NGHTTP2_CANCEL]: status.CANCELLED,
    [constants.NGHTTP2_ENHANCE_YOUR_CALM]: status.RESOURCE_EXHAUSTED,
    [constants.NGHTTP2_INADEQUATE_SECURITY]: status.PERMISSION_DENIED,
  };
  return new GrpcStatusError(codes[resetCode] ?? status.INTERNAL, `The worker reset the stream with code ${resetCode}.`);
}

/** `grpc-message` is percent-encoded; what is not stays as it is. */
function unescape(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
