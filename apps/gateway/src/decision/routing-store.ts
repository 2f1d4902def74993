import type { CanaryComparison, RoutingTable } from '@mlx-serving/contracts';

/** The routing table and the comparison that came down the canary link last. Both hold while the link is down. */
export class RoutingStore {
  table: RoutingTable | undefined;
  comparison: CanaryComparison | undefined;
}
