import type { Health } from '@mlx-serving/service-kit';
import type { Gateways } from './link/link-handler.ts';
import type { RoutingService } from './routing/routing-service.ts';

export interface HealthOptions {
  readonly isListening: () => boolean;
  readonly gateways: Gateways;
  readonly routing: RoutingService;
}

/** Ready when gateways can link. A store that is away is shown, and is no reason to be taken out: the table holds. */
export function createHealth({ isListening, gateways, routing }: HealthOptions): Health {
  return {
    checks: { grpc: () => (isListening() ? null : 'does not listen yet') },
    details: () => ({
      linkedGateways: gateways.ids,
      routing: {
        revision: Number(routing.table.revision),
        enabled: routing.table.enabled,
        ...(routing.disabledReason ? { disabledReason: routing.disabledReason } : {}),
      },
      store: routing.storeProblem ?? 'ok',
    }),
  };
}
