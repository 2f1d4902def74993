import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { errors } from '../errors.ts';

export const MAX_BODY_BYTES = 64 * 1024;

/** Reads every body as JSON, whatever its content type, and an empty one as none. */
export function acceptJson(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', { parseAs: 'string', bodyLimit: MAX_BODY_BYTES }, (_request, text, done) => {
    if (text === '') return done(null, undefined);
    try {
      done(null, JSON.parse(text as string));
    } catch {
      done(errors.BODY_INVALID({ problem: 'The body is not JSON.' }));
    }
  });
}

/** @throws BODY_INVALID with everything that is wrong */
export function readBody<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  const problem = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'The body'}: ${issue.message}`).join('; ');
  throw errors.BODY_INVALID({ problem });
}

export const reasonText = z.string().max(500);
