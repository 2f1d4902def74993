import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Flags, type Handlers, RolloutAction, type RolloutSchema } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';
import { readChange, toPendingMessage } from '../flags/flags-handler.ts';
import { readStages, type Rollout } from './rollout-record.ts';
import type { RolloutControl, RolloutService } from './rollout-service.ts';

const CONTROLS: Partial<Record<RolloutAction, RolloutControl>> = { [RolloutAction.PAUSE]: 'pause', [RolloutAction.RESUME]: 'resume', [RolloutAction.ABORT]: 'abort' };

/** The calls about rollouts in stages. */
export function createRolloutHandlers(rollouts: RolloutService): Pick<Handlers<typeof Flags>, 'startRollout' | 'controlRollout' | 'listRollouts'> {
  return {
    startRollout: async (request) => {
      const stages = readStages(request.preset, request.stages.map(({ percentage, waitMs }) => ({ percentage, waitMs: Number(waitMs) })));
      const started = await rollouts.start(request.flag, stages, readChange(request));
      return 'pending' in started ? { pending: toPendingMessage(started.pending) } : { rollout: toMessage(request.flag, started.rollout) };
    },
    controlRollout: async (request) => {
      const control = CONTROLS[request.action];
      if (!control) throw errors.ROLLOUT_INVALID({ problem: 'Give pause, resume or abort.' });
      return { rollout: toMessage(request.flag, await rollouts.control(request.flag, control, readChange(request))) };
    },
    listRollouts: async () => ({ rollouts: rollouts.list().map(([flag, rollout]) => toMessage(flag, rollout)) }),
  };
}

function toMessage(flag: string, { stages, stage, state, note, nextAtMs, actor }: Rollout): MessageInitShape<typeof RolloutSchema> {
  const counted = stages.map(({ percentage, waitMs }) => ({ percentage, waitMs: BigInt(waitMs) }));
  return { flag, stages: counted, stage: Math.max(stage, 0), state, note, nextAtMs: BigInt(nextAtMs), actor };
}
