import { Qos } from '@mlx-serving/contracts';
import { GrpcServer, type Logger } from '@mlx-serving/service-kit';
import { createLinkHandler, type LinkHandlerOptions } from './link/link-handler.ts';
import { createPolicyHandlers, type PolicyHandlersOptions } from './state/policy-handlers.ts';
import { createStateHandler, type StateHandlerOptions } from './state/state-handler.ts';

export type ServerOptions = LinkHandlerOptions & StateHandlerOptions & PolicyHandlersOptions;

/** The gRPC service Qos. */
export function createServer(options: ServerOptions, logger: Logger): GrpcServer {
  return new GrpcServer(logger).add(Qos, { link: createLinkHandler(options), getState: createStateHandler(options), ...createPolicyHandlers(options) });
}
