import { Canary } from '@mlx-serving/contracts';
import { GrpcServer, type Logger } from '@mlx-serving/service-kit';
import { type ControlHandlerOptions, createControlHandlers } from './control/control-handler.ts';
import { createLinkHandler, type LinkHandlerOptions } from './link/link-handler.ts';
import { createStateHandler } from './state/state-handler.ts';

/** The gRPC service Canary. */
export function createServer(options: LinkHandlerOptions & ControlHandlerOptions, logger: Logger): GrpcServer {
  return new GrpcServer(logger).add(Canary, { link: createLinkHandler(options), getState: createStateHandler(options), ...createControlHandlers(options) });
}
