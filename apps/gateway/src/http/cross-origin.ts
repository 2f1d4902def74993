import type { IncomingMessage, ServerResponse } from 'node:http';

export interface CorsRules {
  readonly origins: readonly string[];
  readonly max_age_s: number;
}

/** What a page may read of an answer besides its body. */
const EXPOSED = 'x-request-id, x-mlx-serving-variant, x-mlx-serving-flags, x-mlx-serving-revision, retry-after, x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens';

/**
 * Lets pages of the configured origins read answers. Others get the same answers without the leave to read them.
 * @returns true when the request was a preflight, which is answered then
 */
export function allowOrigin(request: IncomingMessage, response: ServerResponse, { origins, max_age_s }: CorsRules): boolean {
  const { origin } = request.headers;
  if (origin === undefined || origins.length === 0) return false;
  response.setHeader('vary', 'origin');
  const allowed = origins.includes('*') || origins.includes(origin);
  if (allowed) {
    response.setHeader('access-control-allow-origin', origins.includes('*') ? '*' : origin);
    response.setHeader('access-control-expose-headers', EXPOSED);
  }
  const isPreflight = request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined;
  if (!isPreflight || !allowed) return false;
  response.writeHead(204, {
    'access-control-allow-methods': 'GET, POST',
    'access-control-allow-headers': request.headers['access-control-request-headers'] ?? '',
    'access-control-max-age': String(max_age_s),
  });
  response.end();
  return true;
}
