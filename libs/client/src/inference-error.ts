import { status } from '@grpc/grpc-js';

/** Name of a gRPC status code, such as `UNAVAILABLE`. */
export type InferenceErrorCode = keyof typeof status;

/** Why a generation failed: gRPC code, stable reason, and, where a later attempt may succeed, when. */
export class InferenceError extends Error {
  override readonly name = 'InferenceError';
  readonly code: InferenceErrorCode;
  /** A stable word such as `MODEL_NOT_FOUND` or `QUEUE_FULL`; the code when the transport failed. */
  readonly reason: string;
  readonly retryAfterMs: number | undefined;

  constructor(code: InferenceErrorCode, reason: string, message: string, details: { retryAfterMs?: number; cause?: unknown } = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.reason = reason;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** Reads what grpc-js threw. Anything else is of code UNKNOWN. */
  static from(thrown: unknown): InferenceError {
    if (thrown instanceof InferenceError) return thrown;
    if (!isGrpcError(thrown)) return new InferenceError('UNKNOWN', 'UNKNOWN', String(thrown), { cause: thrown });
    const code = (status[thrown.code] ?? 'UNKNOWN') as InferenceErrorCode;
    const first = (name: string): string | undefined => thrown.metadata?.get(name)[0]?.toString();
    const retryAfterMs = Number(first('retry-after-ms'));
    return new InferenceError(code, first('reason') ?? code, thrown.details || code, { cause: thrown, ...(retryAfterMs > 0 ? { retryAfterMs } : {}) });
  }
}

interface GrpcError {
  readonly code: number;
  readonly details: string;
  readonly metadata?: { get(name: string): { toString(): string }[] };
}

function isGrpcError(thrown: unknown): thrown is GrpcError {
  return thrown instanceof Error && typeof (thrown as Partial<GrpcError>).code === 'number' && typeof (thrown as Partial<GrpcError>).details === 'string';
}
