import { errors } from '../errors.ts';
import type { HttpContext } from './http-context.ts';

export interface HttpRoute {
  readonly method: 'GET' | 'POST';
  /** A whole path, or the beginning of one when it ends with a slash: the rest is the name. */
  readonly path: string;
  /** For metrics: a bounded set. */
  readonly label: string;
  readonly handle: (context: HttpContext) => Promise<void> | void;
}

/** @throws UNKNOWN_URL, or METHOD_NOT_ALLOWED with the methods that are */
export function findRoute(routes: readonly HttpRoute[], method: string, path: string): { route: HttpRoute; name: string } {
  const exact = routes.find((route) => route.path === path && route.method === method && !path.endsWith('/'));
  if (exact) return { route: exact, name: '' };
  const matching = routes.flatMap((route) => {
    const name = nameIn(route.path, path);
    return name === undefined ? [] : [{ route, name }];
  });
  const found = matching.find(({ route }) => route.method === method);
  if (found) return found;
  if (matching.length === 0) throw errors.UNKNOWN_URL({ method, path });
  throw errors.METHOD_NOT_ALLOWED({ method, path, allow: allowedMethods(routes, path) });
}

export function allowedMethods(routes: readonly HttpRoute[], path: string): string {
  return [...new Set(routes.filter((route) => nameIn(route.path, path) !== undefined).map((route) => route.method))].join(', ');
}

/** @returns the name that the path gives, empty for a whole path, or undefined when it does not match */
function nameIn(pattern: string, path: string): string | undefined {
  if (!pattern.endsWith('/')) return pattern === path ? '' : undefined;
  if (!path.startsWith(pattern) || path.length === pattern.length) return undefined;
  try {
    return decodeURIComponent(path.slice(pattern.length));
  } catch {
    return undefined;
  }
}
