import type { Health } from '@mlx-serving/service-kit';
import type { ControlKeeper } from './control/control-keeper.ts';
import type { ControlService } from './control/control-service.ts';
import type { LeaseService } from './leases/lease-service.ts';
import type { Gateways } from './link/link-handler.ts';
import type { WorkerService } from './workers/worker-service.ts';

export interface HealthOptions {
  readonly isListening: () => boolean;
  readonly gateways: Gateways;
  readonly leases: LeaseService;
  readonly control: ControlService;
  readonly keeper: ControlKeeper;
  readonly workers: WorkerService;
}

/** Ready when gateways can link. A worker or a gateway that is missing is shown, and is no reason to be taken out. */
export function createHealth({ isListening, gateways, leases, control, keeper, workers }: HealthOptions): Health {
  return {
    checks: { grpc: () => (isListening() ? null : 'does not listen yet') },
    details: () => ({
      linkedGateways: gateways.ids,
      unacknowledgedLeases: leases.unacknowledged,
      missingWorkers: workers.missing,
      acting: keeper.acting,
      ...(keeper.problem === undefined ? {} : { problem: keeper.problem }),
      remediations: control.controller.leases,
      slos: control.verdicts,
    }),
  };
}
