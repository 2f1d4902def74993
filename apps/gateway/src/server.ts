import { Inference, Membership } from '@mlx-serving/contracts';
import type { RuntimeFile } from '@mlx-serving/policy';
import { answerOperations, GrpcServer, type Health, type Logger } from '@mlx-serving/service-kit';
import type { Server } from 'node:http';
import { createMembershipHandlers, type MembershipOptions } from './balancing/membership-handler.ts';
import { createCanaryHealthHandler } from './canary/canary-health-handler.ts';
import { createChatHandler } from './chat/chat-handler.ts';
import { createCompletionHandler } from './completions/completion-handler.ts';
import type { DecisionCounter } from './decision/decision-counts.ts';
import type { FlagSnapshotStore } from './decision/flag-snapshot-store.ts';
import type { RoutingStore } from './decision/routing-store.ts';
import type { ExplainService } from './explain/explain-service.ts';
import { createAnswerPlanned } from './openai/answer-request.ts';
import { createFlagHandler, createFlagsHandler } from './flags/flag-handler.ts';
import type { HttpContext } from './http/http-context.ts';
import { createHttpDoor } from './http/http-door.ts';
import type { HttpRoute } from './http/http-router.ts';
import { createInferenceHandlers, type InferenceHandlerOptions } from './inference/inference-handler.ts';
import { createModelsHandlers } from './models/models-handler.ts';
import { createOfrepHandlers } from './ofrep/ofrep-handler.ts';
import { createResponseHandler } from './responses/response-handler.ts';
import type { FlagTelemetry } from './telemetry/flag-telemetry.ts';
import type { RequestTraces } from './telemetry/request-traces.ts';

export interface ServerOptions extends InferenceHandlerOptions, MembershipOptions {
  readonly flags: FlagSnapshotStore;
  readonly routing: RoutingStore;
  readonly counts: DecisionCounter;
  readonly telemetry: FlagTelemetry;
  readonly traces: RequestTraces;
  readonly hasCanaryWorker: () => boolean;
  readonly health: Health;
  readonly cors: () => RuntimeFile['cors'];
  readonly explain: ExplainService;
  readonly logger: Logger;
}

/** The HTTP door. */
export function createHttpServer(options: ServerOptions): Server {
  const { service, limits, metrics, readCaller, logger } = options;
  const answer = createAnswerPlanned(service, options.explain);
  const models = createModelsHandlers(options.models, readCaller);
  const ofrep = createOfrepHandlers(options);
  const answerHealth = async ({ path, response }: HttpContext): Promise<void> => {
    await answerOperations(path, response, metrics.registry, options.health);
  };
  const routes: HttpRoute[] = [
    { method: 'POST', path: '/v1/chat/completions', label: 'chat', handle: createChatHandler(answer, limits, readCaller) },
    { method: 'POST', path: '/v1/completions', label: 'completions', handle: createCompletionHandler(answer, limits, readCaller) },
    { method: 'POST', path: '/v1/responses', label: 'responses', handle: createResponseHandler(answer, limits, readCaller) },
    { method: 'GET', path: '/v1/models', label: 'models', handle: models.list },
    { method: 'GET', path: '/v1/models/', label: 'models', handle: models.get },
    { method: 'GET', path: '/api/flags', label: 'flags', handle: createFlagsHandler(options) },
    { method: 'GET', path: '/api/flags/', label: 'flags', handle: createFlagHandler(options) },
    { method: 'POST', path: '/ofrep/v1/evaluate/flags', label: 'ofrep', handle: ofrep.bulk },
    { method: 'POST', path: '/ofrep/v1/evaluate/flags/', label: 'ofrep', handle: ofrep.single },
    { method: 'GET', path: '/health/canary', label: 'health', handle: createCanaryHealthHandler(options) },
    { method: 'GET', path: '/health/live', label: 'health', handle: answerHealth },
    { method: 'GET', path: '/health/ready', label: 'health', handle: answerHealth },
  ];
  return createHttpDoor({ routes, cors: options.cors, stopping: () => service.stopping, metrics, logger });
}

/** The gRPC door. */
export function createGrpcServer(options: ServerOptions): GrpcServer {
  return new GrpcServer(options.logger).add(Inference, createInferenceHandlers(options)).add(Membership, createMembershipHandlers(options));
}
