import type { FastifyRequest } from 'fastify';
import { principalOf } from '../access/principal.ts';

const MAX_LENGTH = 100;
const MAX_REASON_LENGTH = 500;

/**
 * Who makes a change: the name of the token. For the root token "admin", or whoever the header `X-Actor` names with
 * "(root)" behind it, so that neither the audit trail nor a second person's approval can be deceived by a name.
 */
export function actorOf(request: FastifyRequest): string {
  const name = principalOf(request)?.name;
  if (name !== undefined) return name;
  const header = request.headers['x-actor'];
  const actor = typeof header === 'string' ? header.trim().slice(0, MAX_LENGTH) : '';
  return actor === '' ? 'admin' : `${actor} (root)`;
}

/** Why a change is made: the query's `reason`, else the header `X-Reason`, else nothing. */
export function reasonOf(request: FastifyRequest): string {
  const { reason } = request.query as { reason?: unknown };
  const header = request.headers['x-reason'];
  const given = typeof reason === 'string' ? reason : typeof header === 'string' ? header : '';
  return given.trim().slice(0, MAX_REASON_LENGTH);
}

/** Both, as every changing call takes them. @param reason from the body, which comes first */
export function changeOf(request: FastifyRequest, reason?: string): { actor: string; reason: string } {
  return { actor: actorOf(request), reason: reason || reasonOf(request) };
}
