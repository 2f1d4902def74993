import { fastify, type FastifyInstance } from 'fastify';
import type { Canary, Flags, Qos, ServiceClient } from '@mlx-serving/contracts';
import { type Health, type Logger, readiness } from '@mlx-serving/service-kit';
import { requireToken } from './access/bearer.ts';
import { addCanaryRoutes } from './canary/canary-handler.ts';
import { addEngineRoutes } from './canary/engines-handler.ts';
import { addTokenRoutes } from './access/token-handler.ts';
import { addApprovalRoutes } from './approvals/approval-handler.ts';
import { addAuditRoutes } from './audit/audit-handler.ts';
import { addHistoryRoutes } from './audit/history-handler.ts';
import { addEmergencyRoutes } from './emergency/emergency-handler.ts';
import { errors } from './errors.ts';
import { addFlagRoutes } from './flags/flags-handler.ts';
import { addKillRoute } from './flags/kill-handler.ts';
import { addKeyRoutes } from './keys/key-handler.ts';
import { createErrorHandler } from './http/error-answer.ts';
import { acceptJson, MAX_BODY_BYTES } from './http/json-body.ts';
import type { AdminMetrics } from './metrics.ts';
import { addQosRoutes } from './qos/qos-handler.ts';
import { addRolloutRoutes } from './rollouts/rollout-handler.ts';
import { addSegmentRoutes } from './segments/segment-handler.ts';
import { addStoreRoutes } from './store-loss/store-handler.ts';
import { addTransferRoutes } from './transfer/transfer-handler.ts';
import { addStateRoutes } from './states/states-handler.ts';

export interface Services {
  readonly flags: ServiceClient<typeof Flags>;
  readonly qos: ServiceClient<typeof Qos>;
  readonly canary: ServiceClient<typeof Canary>;
}

export interface ServerOptions {
  readonly services: Services;
  readonly health: Health;
  readonly metrics: AdminMetrics;
  readonly logger: Logger;
  readonly token: () => string;
}

/** The HTTP server: every route, behind one check of the token and one way of answering errors. */
export function createServer({ services, health, metrics, logger, token }: ServerOptions): FastifyInstance {
  const server = fastify({ bodyLimit: MAX_BODY_BYTES, requestTimeout: 30_000, routerOptions: { maxParamLength: 256 } });
  acceptJson(server);
  server.setErrorHandler(createErrorHandler(logger));
  server.setNotFoundHandler(({ method, url }) => {
    throw errors.ROUTE_NOT_FOUND({ method, path: url.split('?', 1)[0] ?? url });
  });
  server.addHook('onRequest', requireToken(token, services.flags));
  server.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    metrics.requests.inc({ method: request.routeOptions.url ? request.method : 'any', route, status: String(reply.statusCode) });
    metrics.requestDuration.observe({ route }, reply.elapsedTime / 1000);
  });
  server.get('/health/live', async () => ({ status: 'live' }));
  server.get('/health/ready', async (_request, reply) => {
    const { status, body } = readiness(health);
    return reply.status(status).send(body);
  });
  addFlagRoutes(server, services.flags);
  addKillRoute(server, services.flags);
  addHistoryRoutes(server, services.flags);
  addAuditRoutes(server, services.flags);
  addSegmentRoutes(server, services.flags);
  addTransferRoutes(server, services.flags);
  addRolloutRoutes(server, services.flags);
  addApprovalRoutes(server, services.flags);
  addStoreRoutes(server, services.flags);
  addTokenRoutes(server, services.flags);
  addKeyRoutes(server, services.flags);
  addEmergencyRoutes(server, services.flags);
  addStateRoutes(server, services.qos, services.canary);
  addQosRoutes(server, services.qos);
  addCanaryRoutes(server, services.canary);
  addEngineRoutes(server, services.canary);
  return server;
}
