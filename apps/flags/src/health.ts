import type { Health } from '@mlx-serving/service-kit';
import type { FlagReplicas } from './link/link-handler.ts';
import type { LiveFlags } from './snapshot/live-flags.ts';
import type { SnapshotRefresher } from './snapshot/snapshot-refresher.ts';

/** Ready as soon as the flags were read once: an outage of Redis after that leaves the last known flags in force (SPEC F14). */
export function createHealth(live: LiveFlags, refresher: SnapshotRefresher, replicas: FlagReplicas): Health {
  return {
    checks: {
      flags: () => (live.takenAtMs === undefined ? `not read from Redis yet${refresher.problem ? `: ${refresher.problem}` : ''}` : null),
    },
    details: () => ({
      degraded: refresher.problem !== '',
      snapshotAgeMs: live.takenAtMs === undefined ? null : Math.max(0, Date.now() - live.takenAtMs),
      revision: Number(live.revision),
      linkedReplicas: replicas.ids,
      undecodable: Object.fromEntries(live.undecodable),
    }),
  };
}
