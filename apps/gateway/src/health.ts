import type { Variant } from '@mlx-serving/policy';
import type { Health } from '@mlx-serving/service-kit';
import type { FlagSnapshotStore } from './decision/flag-snapshot-store.ts';
import type { RoutingStore } from './decision/routing-store.ts';
import type { WorkerPool } from './workers/worker-pool.ts';

export interface HealthOptions {
  readonly flags: FlagSnapshotStore;
  readonly routing: RoutingStore;
  readonly pools: Record<Variant, WorkerPool>;
  readonly stopping: () => boolean;
  readonly links: () => Record<string, boolean>;
}

/** Ready with a flag snapshot and a worker. A link that is down is shown, and is no reason to be taken out. */
export function createHealth({ flags, routing, pools, stopping, links }: HealthOptions): Health {
  return {
    checks: {
      lifecycle: () => (stopping() ? 'shutting down' : null),
      flags: () => (flags.seen ? null : 'no flag snapshot yet'),
      workers: () => (pools.baseline.serving.length > 0 ? null : 'no baseline worker serves'),
    },
    details: () => ({
      links: Object.fromEntries(Object.entries(links()).map(([name, up]) => [name, up ? 'up' : 'down'])),
      flagsRevision: Number(flags.state.revision),
      flagsAgeMs: flags.ageMs(Date.now()),
      routingRevision: Number(routing.table?.revision ?? 0n),
      workers: Object.fromEntries(Object.entries(pools).map(([variant, pool]) => [variant, { serving: pool.serving.length, configured: pool.size, states: statesOf(pool) }])),
    }),
  };
}

/** `closed` is well; else why a worker gets nothing, or less. */
function statesOf(pool: WorkerPool): Record<string, string> {
  return Object.fromEntries(pool.members.map(({ worker, state }) => [worker.address, state]));
}
