import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Flags, ServiceClient } from '@mlx-serving/contracts';
import { ServiceError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import { callService } from '../http/error-answer.ts';
import { isSameToken } from './admin-token.ts';
import { mayAct, type Principal, ROLES, roleFor, setPrincipal } from './principal.ts';

/** Tokens that the flag service knows begin so; anything else is not worth asking about. */
const NAMED_TOKEN = /^mls_[0-9a-f]{12}_[\w-]{43}$/;

/**
 * Lets a request through only with a token whose role suffices; health is open to everybody. The root token works
 * without the flag service, so that nothing but the flag service stands between an operator and a kill.
 */
export function requireToken(rootToken: () => string, flags: ServiceClient<typeof Flags>): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return async (request, reply) => {
    const route = request.routeOptions.url ?? '';
    if (route.startsWith('/health/')) return;
    const given = secretIn(request.headers.authorization ?? '');
    const principal = given === undefined ? undefined : await identify(given, rootToken(), flags);
    if (!principal) {
      void reply.header('www-authenticate', 'Bearer');
      throw given === undefined ? errors.TOKEN_MISSING() : errors.TOKEN_WRONG();
    }
    const needed = roleFor(request.method, route);
    if (!mayAct(principal.role, needed)) throw errors.ROLE_MISSING({ needed, role: principal.role });
    setPrincipal(request, principal);
  };
}

/** The token of `Bearer TOKEN`, or the password of `Basic`, for callers that have only a URL. */
function secretIn(authorization: string): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  if (bearer !== undefined) return bearer;
  const basic = /^Basic +(\S+)$/i.exec(authorization)?.[1];
  return basic === undefined ? undefined : /^[^:]*:(.+)$/.exec(Buffer.from(basic, 'base64').toString('utf8'))?.[1];
}

async function identify(given: string, rootToken: string, flags: ServiceClient<typeof Flags>): Promise<Principal | undefined> {
  if (isSameToken(given, rootToken)) return { name: undefined, role: 'admin' };
  if (!NAMED_TOKEN.test(given)) return undefined;
  try {
    const secretHash = createHash('sha256').update(given).digest('hex');
    const { token } = await callService('flags', () => flags.authenticateToken({ secretHash }));
    const role = ROLES.find((known) => known === token?.role);
    return token && role ? { name: token.name, role } : undefined;
  } catch (thrown) {
    if (ServiceError.from(thrown).reason === 'TOKEN_UNKNOWN') return undefined;
    throw thrown;
  }
}
