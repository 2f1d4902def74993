import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Logger, ServiceError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { sendOpenAiError, statusOf } from '../openai/openai-error.ts';
import { allowOrigin, type CorsRules } from './cross-origin.ts';
import { createContext, type HttpContext } from './http-context.ts';
import { allowedMethods, findRoute, type HttpRoute } from './http-router.ts';

export interface HttpDoorOptions {
  readonly routes: readonly HttpRoute[];
  /** True once the gateway drains: connections are then closed behind their answers. */
  readonly stopping: () => boolean;
  /** Which pages of other origins may call. */
  readonly cors: () => CorsRules;
  readonly metrics: GatewayMetrics;
  readonly logger: Logger;
}

/** Longer than what load balancers keep a connection, so that it is they who close it. */
const KEEP_ALIVE_MS = 65_000;

/** Creates the HTTP server of the gateway: routes, one shape of error, one count for each request. */
export function createHttpDoor(options: HttpDoorOptions): Server {
  // What is no HTTP, or too much or too slow of it, Node answers by itself: 400, 408, 413 or 431, and nothing within a running answer.
  return createServer({ noDelay: true, keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: KEEP_ALIVE_MS + 1_000, requestTimeout: 120_000 }, (request, response) => {
    void serve(request, response, options);
  });
}

async function serve(request: IncomingMessage, response: ServerResponse, options: HttpDoorOptions): Promise<void> {
  const context = createContext(request, response);
  const method = request.method ?? 'GET';
  let label = 'unknown';
  if (options.stopping()) response.setHeader('connection', 'close');
  response.once('close', () => {
    options.metrics.requests.inc({ route: label, status: response.headersSent ? response.statusCode : 499 });
    // Its head went out before the stop began, so it did not say that the connection ends here.
    if (options.stopping()) request.socket.destroySoon();
  });
  if (allowOrigin(request, response, options.cors())) return;
  try {
    const { route, name } = findRoute(options.routes, method, context.path);
    label = route.label;
    await route.handle({ ...context, name });
  } catch (thrown) {
    refuse(ServiceError.from(thrown), context, options);
  }
}

function refuse(error: ServiceError, context: HttpContext, { routes, logger }: HttpDoorOptions): void {
  const { request, response, requestId, path } = context;
  const fields = { requestId, method: request.method, path, status: statusOf(error), reason: error.reason };
  if (error.code === 'INTERNAL') logger.error({ ...fields, err: error.cause ?? error }, 'request refused');
  else logger.debug(fields, 'request refused');
  if (response.headersSent || error.reason === errors.CLIENT_GONE().reason) {
    response.destroy();
    return;
  }
  if (error.reason === 'METHOD_NOT_ALLOWED') response.setHeader('allow', allowedMethods(routes, path));
  // What is left of a body that nobody reads would be taken for the next request.
  if (!request.complete) response.setHeader('connection', 'close');
  sendOpenAiError(response, error);
}
