import type { FastifyRequest } from 'fastify';

export const ROLES = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** Who makes a request. */
export interface Principal {
  /** The name of the token; undefined for the root token, which may act in anybody's name. */
  readonly name: string | undefined;
  readonly role: Role;
}

const principals = new WeakMap<FastifyRequest, Principal>();

export function setPrincipal(request: FastifyRequest, principal: Principal): void {
  principals.set(request, principal);
}

export function principalOf(request: FastifyRequest): Principal | undefined {
  return principals.get(request);
}

/** Paths that only an admin may write to, besides deletions. */
const ADMIN_ONLY = /^\/admin\/(tokens|keys|store|import)(\/|$)/;
/** Paths that change nothing although they are posted to. */
const ONLY_ASKS = /^\/admin\/flags\/:name\/(preview|explain)$/;

/** What a request needs: reading is for everybody, deletions, tokens, imports and the store are for admins (SPEC F23). */
export function roleFor(method: string, route: string): Role {
  if (/^\/admin\/(tokens|keys)(\/|$)/.test(route)) return 'admin';
  if (method === 'GET' || method === 'HEAD' || ONLY_ASKS.test(route)) return 'viewer';
  return method === 'DELETE' || ADMIN_ONLY.test(route) ? 'admin' : 'operator';
}

export function mayAct(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}
