import type { FastifyReply, FastifyRequest } from 'fastify';
import { errors } from '../errors.ts';
import { isSameToken } from './admin-token.ts';

/** Lets a request through only with the admin token; health is open to everybody. */
export function requireToken(token: () => string): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return async (request, reply) => {
    if (request.routeOptions.url?.startsWith('/health/')) return;
    const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (given !== undefined && isSameToken(given, token())) return;
    void reply.header('www-authenticate', 'Bearer');
    throw given === undefined ? errors.TOKEN_MISSING() : errors.TOKEN_WRONG();
  };
}
