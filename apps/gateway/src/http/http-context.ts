import type { IncomingMessage, ServerResponse } from 'node:http';
import { randomUUID } from 'node:crypto';
import { errors } from '../errors.ts';
import type { CallerHeaders } from '../tenants/caller-service.ts';

/** One HTTP request on its way. */
export interface HttpContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  /** What stands behind the question mark. */
  readonly query: string;
  /** The rest of the path behind a route that ends with a slash, decoded. */
  readonly name: string;
  readonly requestId: string;
  /** `performance.now()` at its arrival. */
  readonly arrivedAt: number;
  /** Aborts with CLIENT_GONE as soon as the client is gone. */
  readonly abort: AbortController;
}

const REQUEST_ID = /^[\x21-\x7e]{1,128}$/;

/** Takes a request in. The client's going is followed from here on, before anything waits. */
export function createContext(request: IncomingMessage, response: ServerResponse): HttpContext {
  const [path = '/', query = ''] = (request.url ?? '/').split('?', 2);
  const requestId = readRequestId(request.headers['x-request-id']);
  const abort = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) abort.abort(errors.CLIENT_GONE());
  });
  response.setHeader('x-request-id', requestId);
  return { request, response, path, query, name: '', requestId, arrivedAt: performance.now(), abort };
}

/** The caller's own request id if it is one line of visible characters, else a new one. */
export function readRequestId(given: string | string[] | undefined): string {
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
}

/** What a request says of its caller; what is left of the key's limits goes into the answer's head. */
export function callerHeaders({ request: { headers }, response }: Pick<HttpContext, 'request' | 'response'>): CallerHeaders {
  return {
    headers,
    onLimits: (limits) => {
      for (const [name, value] of Object.entries(limits)) response.setHeader(name, value);
    },
  };
}
