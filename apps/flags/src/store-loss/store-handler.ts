import { type Flags, type Handlers, StoreDecision } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { readChange } from '../flags/flags-handler.ts';
import type { KillService } from '../kill/kill-service.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { SnapshotRefresher } from '../snapshot/snapshot-refresher.ts';
import type { SettleService } from './settle-service.ts';

export interface StoreHandlerOptions {
  readonly live: LiveFlags;
  readonly refresher: SnapshotRefresher;
  readonly kills: KillService;
  readonly settling: SettleService;
}

/** The calls about the store itself. */
export function createStoreHandlers({ live, refresher, kills, settling }: StoreHandlerOptions): Pick<Handlers<typeof Flags>, 'getStoreState' | 'settleStore'> {
  return {
    getStoreState: async () => {
      const { lost, problem } = refresher;
      return {
        reachable: lost !== undefined || problem === '',
        problem,
        lost: lost !== undefined,
        storeRevision: lost?.revision ?? live.storeRevision,
        storeFlags: lost?.flags.size ?? live.flags.length,
        knownRevision: live.storeRevision,
        knownFlags: live.flags.length,
        journalled: kills.journalled.map((flag) => flag || 'emergency'),
      };
    },
    settleStore: async (request) => {
      const change = readChange(request);
      if (request.decision === StoreDecision.ACCEPT) return { revision: await settling.accept(change) };
      if (request.decision === StoreDecision.RESEED) return { revision: await settling.reseed(change) };
      throw errors.SETTLE_DECISION_MISSING();
    },
  };
}
