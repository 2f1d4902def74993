import { Metadata, status } from '@grpc/grpc-js';

/** The gRPC status codes that services answer with. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'UNAUTHENTICATED'
  | 'PERMISSION_DENIED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'ABORTED'
  | 'FAILED_PRECONDITION'
  | 'RESOURCE_EXHAUSTED'
  | 'CANCELLED'
  | 'DEADLINE_EXCEEDED'
  | 'UNIMPLEMENTED'
  | 'UNAVAILABLE'
  | 'INTERNAL';

/** One row of a service's table of reasons: the code it maps to, and the message, safe to show to any client. */
export interface ErrorEntry {
  readonly code: ErrorCode;
  readonly message: string;
}

export interface ErrorDetails {
  /** The request field at fault, as OpenAI's `param`. */
  param?: string;
  retryAfterMs?: number;
  cause?: unknown;
}

/**
 * The only error that crosses a boundary: gRPC code, stable reason, message that is safe to show.
 * What caused it goes to the log, never to the client.
 */
export class ServiceError extends Error {
  override readonly name = 'ServiceError';
  readonly code: ErrorCode;
  readonly reason: string;
  readonly param: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, reason: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = reason;
    this.param = details.param;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** Reads any thrown value: a ServiceError as it is, a gRPC error by its code and reason, everything else as INTERNAL. */
  static from(thrown: unknown): ServiceError {
    if (thrown instanceof ServiceError) return thrown;
    if (isGrpcError(thrown)) return fromGrpcError(thrown);
    return new ServiceError('INTERNAL', 'INTERNAL', 'Something went wrong inside the service; its log has the request id.', { cause: thrown });
  }
}

interface GrpcError {
  code: number;
  details: string;
  metadata?: Metadata;
}

function isGrpcError(thrown: unknown): thrown is GrpcError {
  return thrown instanceof Error && typeof (thrown as Partial<GrpcError>).code === 'number' && typeof (thrown as Partial<GrpcError>).details === 'string';
}

function fromGrpcError(thrown: GrpcError): ServiceError {
  const name = status[thrown.code] ?? '';
  const code = name in HTTP_STATUS ? (name as ErrorCode) : 'INTERNAL';
  const reason = thrown.metadata?.get('reason')[0]?.toString();
  const retryAfter = Number(thrown.metadata?.get('retry-after-ms')[0] ?? Number.NaN);
  const details = Number.isFinite(retryAfter) ? { cause: thrown, retryAfterMs: retryAfter } : { cause: thrown };
  // Only our services send a reason. Any other text is the transport's own and may name addresses.
  return new ServiceError(code, reason ?? code, (reason && thrown.details) || `A call inside the system failed: ${code}.`, details);
}

/**
 * Makes one function a reason from a service's table. `{name}` in a message is replaced by the value given.
 * @example errors.FLAG_NOT_FOUND({ name: 'x' })
 */
export function defineErrors<T extends Record<string, ErrorEntry>>(
  table: T,
): { [K in keyof T]: (values?: Record<string, string | number>, details?: ErrorDetails) => ServiceError } & { readonly table: T } {
  const factories = Object.entries(table).map(([reason, entry]) => [
    reason,
    (values: Record<string, string | number> = {}, details: ErrorDetails = {}) =>
      new ServiceError(entry.code, reason, entry.message.replace(/\{(\w+)\}/g, (_, key: string) => String(values[key] ?? key)), details),
  ]);
  return { ...Object.fromEntries(factories), table } as never;
}

const HTTP_STATUS: Record<ErrorCode, number> = {
  INVALID_ARGUMENT: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  ABORTED: 412,
  FAILED_PRECONDITION: 409,
  RESOURCE_EXHAUSTED: 429,
  CANCELLED: 499,
  DEADLINE_EXCEEDED: 504,
  UNIMPLEMENTED: 501,
  UNAVAILABLE: 503,
  INTERNAL: 500,
};

/** The HTTP status of an error code. ABORTED is a lost update and so a 412. */
export function httpStatus(code: ErrorCode): number {
  return HTTP_STATUS[code];
}

/** The error as grpc-js sends it: code, message, and the reason in the metadata. */
export function toGrpcError(error: ServiceError): { code: number; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  metadata.set('reason', error.reason);
  if (error.retryAfterMs !== undefined) metadata.set('retry-after-ms', String(Math.ceil(error.retryAfterMs)));
  return { code: status[error.code], details: error.message, metadata };
}
