import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { httpStatus, type Logger, ServiceError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';

/** Turns whatever was thrown into `{error: {code, reason, message}}`; what went wrong inside goes to the log alone. */
export function createErrorHandler(logger: Logger): (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => FastifyReply {
  return (thrown, request, reply) => {
    const error = toServiceError(thrown);
    const status = error.reason === 'BODY_TOO_LARGE' ? 413 : httpStatus(error.code);
    if (error.code === 'INTERNAL') logger.error({ err: error.cause ?? error, method: request.method, route: request.routeOptions.url }, 'a request failed unexpectedly');
    if (error.retryAfterMs !== undefined) void reply.header('retry-after', String(Math.ceil(error.retryAfterMs / 1000)));
    return reply.status(status).send({ error: { code: error.code, reason: error.reason, message: error.message } });
  };
}

function toServiceError(thrown: unknown): ServiceError {
  const { code, statusCode, message } = thrown as Partial<FastifyError>;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return errors.BODY_TOO_LARGE();
  if (typeof code === 'string' && statusCode !== undefined && statusCode < 500) return errors.BODY_INVALID({ problem: message ?? 'The request cannot be read.' });
  return ServiceError.from(thrown);
}

/**
 * Calls a service behind this one.
 * @throws its own error, or SERVICE_UNREACHABLE when it did not answer
 */
export async function callService<T>(service: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (thrown) {
    const error = ServiceError.from(thrown);
    const ownReason = error.reason !== error.code;
    if (!ownReason && (error.code === 'UNAVAILABLE' || error.code === 'DEADLINE_EXCEEDED')) throw errors.SERVICE_UNREACHABLE({ service }, { cause: thrown });
    throw error;
  }
}
