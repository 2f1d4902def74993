import type { Flags, Handlers } from '@mlx-serving/contracts';
import type { Outcome, PendingChange } from '../flags/flag-change.ts';
import { readChange, toPendingMessage, toPropagation } from '../flags/flags-handler.ts';
import type { FlagsService } from '../flags/flags-service.ts';
import { rolloutRecord } from '../rollout/rollout-record.ts';
import type { RolloutService } from '../rollout/rollout-service.ts';
import type { RecordGuard } from '../store/flag-store.ts';
import type { ApprovalService } from './approval-service.ts';

export interface ApprovalHandlerOptions {
  readonly approvals: ApprovalService;
  readonly flags: FlagsService;
  readonly rollouts: RolloutService;
}

/** The calls about changes that wait for a second person. */
export function createApprovalHandlers({ approvals, flags, rollouts }: ApprovalHandlerOptions): Pick<Handlers<typeof Flags>, 'listPendingChanges' | 'decidePendingChange'> {
  /** In the name of who asked for it; the trail has the approval as an entry of its own. */
  const carryOut = async (change: PendingChange, dependsOn: RecordGuard): Promise<Outcome | undefined> => {
    const write = { actor: change.requestedBy, reason: change.reason, approved: true, ifRevision: BigInt(change.revision), dependsOn };
    if (change.action === 'set') return flags.set(change.flag, change.after, write);
    if (change.action === 'delete') return flags.delete(change.flag, write);
    await rollouts.start(change.flag, rolloutRecord.shape.stages.parse(JSON.parse(change.after)), write);
    return undefined;
  };
  return {
    listPendingChanges: async () => ({ changes: approvals.list().map(toPendingMessage) }),
    decidePendingChange: async (request) => {
      const by = readChange(request);
      if (!request.approve) {
        await approvals.reject(request.id, by);
        return {};
      }
      const { change, dependsOn } = await approvals.approve(request.id, by);
      const outcome = await carryOut(change, dependsOn);
      return outcome && 'proof' in outcome ? { propagation: toPropagation(outcome.proof) } : {};
    },
  };
}
