import type { Health } from '@mlx-serving/service-kit';
import type { KillService } from './kill/kill-service.ts';
import type { FlagReplicas } from './link/link-handler.ts';
import type { LiveFlags } from './snapshot/live-flags.ts';
import type { SnapshotRefresher } from './snapshot/snapshot-refresher.ts';

export interface HealthOptions {
  readonly live: LiveFlags;
  readonly refresher: SnapshotRefresher;
  readonly replicas: FlagReplicas;
  readonly kills: Pick<KillService, 'journalled'>;
}

/** Ready as soon as there are flags, read from Redis or kept on disk: an outage of Redis leaves the last known ones in force (SPEC F14). */
export function createHealth({ live, refresher, replicas, kills }: HealthOptions): Health {
  return {
    checks: {
      flags: () => (live.takenAtMs === undefined ? `not read from Redis yet${refresher.problem ? `: ${refresher.problem}` : ''}` : null),
    },
    details: () => ({
      degraded: refresher.problem !== '',
      problem: refresher.problem,
      storeLost: refresher.lost !== undefined,
      snapshotAgeMs: live.takenAtMs === undefined ? null : Math.max(0, Date.now() - live.takenAtMs),
      revision: Number(live.storeRevision),
      journalledKills: kills.journalled,
      linkedReplicas: replicas.ids,
      absentReplicas: replicas.absent,
      undecodable: Object.fromEntries(live.undecodable),
    }),
  };
}
