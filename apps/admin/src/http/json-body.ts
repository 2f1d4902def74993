import type { FastifyInstance } from 'fastify';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { errors } from '../errors.ts';

export const MAX_BODY_BYTES = 64 * 1024;

const YAML_TYPES = ['application/yaml', 'application/x-yaml', 'text/yaml'];
const YAML_TYPE = new RegExp(`^(${YAML_TYPES.join('|')})\\b`, 'i');

/** Reads every body as JSON, whatever its content type, but YAML where it says so; and an empty one as none. */
export function acceptJson(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  // Fastify refuses a type that is none, such as `json`, before it asks for a parser.
  server.addHook('onRequest', async ({ raw: { headers } }) => {
    if (!YAML_TYPE.test(headers['content-type'] ?? '')) delete headers['content-type'];
  });
  const accept = (type: string | string[], name: string, read: (text: string) => unknown): void => {
    server.addContentTypeParser(type, { parseAs: 'string' }, (_request, text, done) => {
      if (text === '') return done(null, undefined);
      try {
        done(null, read(text as string));
      } catch {
        done(errors.BODY_INVALID({ problem: `The body is not ${name}.` }));
      }
    });
  };
  accept(YAML_TYPES, 'YAML', (text) => parseYaml(text, { maxAliasCount: 0 }) as unknown);
  accept('*', 'JSON', (text) => JSON.parse(text) as unknown);
}

/** @throws BODY_INVALID with everything that is wrong */
export function readBody<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  const problem = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'The body'}: ${issue.message}`).join('; ');
  throw errors.BODY_INVALID({ problem });
}

const MAX_REASON_LENGTH = 500;

export const reasonText = z.string().max(MAX_REASON_LENGTH);

/** A reason cut to its longest, where one that is too long is no ground for refusing. */
export const shortReason = (reason: string): string => reason.slice(0, MAX_REASON_LENGTH);
