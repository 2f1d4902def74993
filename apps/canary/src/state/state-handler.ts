import type { Canary, Handlers } from '@mlx-serving/contracts';
import type { LinkHandlerOptions } from '../link/link-handler.ts';

export type StateHandlerOptions = Pick<LinkHandlerOptions, 'gateways' | 'routing' | 'comparison'>;

/** Answers what this service knows now. */
export function createStateHandler({ gateways, routing, comparison }: StateHandlerOptions): Handlers<typeof Canary>['getState'] {
  return async () => ({
    routingTable: routing.table,
    comparison: comparison.compare(),
    linkedGateways: gateways.ids,
    reportsTotal: comparison.reportsTotal,
    recent: [...comparison.recent],
  });
}
