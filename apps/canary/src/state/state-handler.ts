import type { Canary, CanaryRollout, Handlers } from '@mlx-serving/contracts';
import type { LinkHandlerOptions } from '../link/link-handler.ts';

export type StateHandlerOptions = Pick<LinkHandlerOptions, 'gateways' | 'routing' | 'comparison'> & { readonly rollout: () => CanaryRollout };

/** Answers what this service knows now. */
export function createStateHandler({ gateways, routing, comparison, rollout }: StateHandlerOptions): Handlers<typeof Canary>['getState'] {
  return async () => ({
    routingTable: routing.table,
    comparison: comparison.compare(),
    linkedGateways: gateways.ids,
    reportsTotal: comparison.reportsTotal,
    rollout: rollout(),
    shadow: comparison.shadow,
    recent: [...comparison.recent],
  });
}
