import { Flags } from '@mlx-serving/contracts';
import { GrpcServer, type Logger } from '@mlx-serving/service-kit';
import { createFlagsHandlers } from './flags/flags-handler.ts';
import type { FlagsService } from './flags/flags-service.ts';
import { createLinkHandler, type LinkHandlerOptions } from './link/link-handler.ts';

/** The gRPC server of the flag service. */
export function createServer(logger: Logger, service: FlagsService, link: LinkHandlerOptions): GrpcServer {
  return new GrpcServer(logger).add(Flags, { ...createFlagsHandlers(service, link.live), link: createLinkHandler(link) });
}
