import type { Canary, CanaryRollout, Handlers } from '@mlx-serving/contracts';
import { planRollout, type PlanSource } from '../plan/plan-rollout.ts';
import type { ControlService } from './control-service.ts';

export interface ControlHandlerOptions {
  readonly control: ControlService;
  readonly plan: PlanSource;
  readonly rollout: () => CanaryRollout;
}

/** The RPCs by which people and programs move a rollout, and ask how long one would take. */
export function createControlHandlers({ control, plan, rollout }: ControlHandlerOptions): Pick<Handlers<typeof Canary>, 'control' | 'plan'> {
  return {
    control: async (request) => ({ ...(await control.control(request)), rollout: rollout() }),
    plan: async (request) => planRollout(request, plan),
  };
}
