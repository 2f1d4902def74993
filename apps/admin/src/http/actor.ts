import type { FastifyRequest } from 'fastify';

const MAX_LENGTH = 100;

/** Who makes a change: the header `X-Actor`, else "admin". */
export function actorOf(request: FastifyRequest): string {
  const header = request.headers['x-actor'];
  const actor = typeof header === 'string' ? header.trim().slice(0, MAX_LENGTH) : '';
  return actor || 'admin';
}
