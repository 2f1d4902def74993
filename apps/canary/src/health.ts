import type { Health } from '@mlx-serving/service-kit';
import type { Gateways } from './link/link-handler.ts';
import type { StateKeeper } from './rollout/state-keeper.ts';
import type { RoutingService } from './routing/routing-service.ts';

export interface HealthOptions {
  readonly isListening: () => boolean;
  readonly gateways: Gateways;
  readonly routing: RoutingService;
  readonly keeper: StateKeeper;
}

/** Ready when gateways can link, which they do to the replica that acts. A store that is away is shown, and is no reason to be taken out: the table holds. */
export function createHealth({ isListening, gateways, routing, keeper }: HealthOptions): Health {
  return {
    checks: { grpc: () => (isListening() ? null : 'does not listen yet'), acting: () => (keeper.acting ? null : 'another replica acts') },
    details: () => ({
      linkedGateways: gateways.ids,
      routing: {
        revision: Number(routing.table.revision),
        enabled: routing.table.enabled,
        ...(routing.disabledReason ? { disabledReason: routing.disabledReason } : {}),
      },
      rollout: { phase: keeper.state.phase, percentage: keeper.state.percentage, version: keeper.state.version },
      store: routing.storeProblem ?? keeper.problem ?? 'ok',
    }),
  };
}
