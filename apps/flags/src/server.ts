import { Flags } from '@mlx-serving/contracts';
import { GrpcServer, type Logger } from '@mlx-serving/service-kit';
import { createTokenHandlers } from './access/token-handler.ts';
import type { TokenService } from './access/token-service.ts';
import { type ApprovalHandlerOptions, createApprovalHandlers } from './approval/approval-handler.ts';
import { createAuditHandlers } from './audit/audit-handler.ts';
import type { AuditService } from './audit/audit-service.ts';
import { createFlagsHandlers, type FlagsHandlerOptions } from './flags/flags-handler.ts';
import type { ImpactService } from './impact/impact-service.ts';
import { createKeyHandlers } from './keys/key-handler.ts';
import type { KeyService } from './keys/key-service.ts';
import type { SpendingService } from './keys/spending-service.ts';
import { createLinkHandler, type LinkHandlerOptions } from './link/link-handler.ts';
import { createRolloutHandlers } from './rollout/rollout-handler.ts';
import type { ImportService } from './segments/import-service.ts';
import { createSegmentsHandlers } from './segments/segments-handler.ts';
import type { SegmentsService } from './segments/segments-service.ts';
import { createInsightHandlers } from './stale/insight-handler.ts';
import type { StaleService } from './stale/stale-service.ts';
import { createStoreHandlers, type StoreHandlerOptions } from './store-loss/store-handler.ts';

export interface ServerOptions extends FlagsHandlerOptions, StoreHandlerOptions, ApprovalHandlerOptions, LinkHandlerOptions {
  readonly segments: SegmentsService;
  readonly imports: ImportService;
  readonly audit: AuditService;
  readonly environment: string;
  readonly tokens: TokenService;
  readonly keys: KeyService;
  readonly spending: SpendingService;
  readonly impact: ImpactService;
  readonly stale: StaleService;
}

/** The gRPC server of the flag service. */
export function createServer(logger: Logger, options: ServerOptions): GrpcServer {
  return new GrpcServer(logger).add(Flags, {
    ...createFlagsHandlers(options),
    ...createSegmentsHandlers(options.segments, options.imports),
    ...createAuditHandlers(options.audit, options.live, options.environment),
    ...createStoreHandlers(options),
    ...createTokenHandlers(options.tokens),
    ...createKeyHandlers(options.keys, options.spending),
    ...createApprovalHandlers(options),
    ...createRolloutHandlers(options.rollouts),
    ...createInsightHandlers(options.impact, options.stale),
    link: createLinkHandler(options),
  });
}
