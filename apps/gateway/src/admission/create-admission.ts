import type { RuntimeFile } from '@mlx-serving/policy';
import type { GatewayMetrics } from '../metrics.ts';
import { AdmissionQueue } from './admission-queue.ts';
import { GOVERNOR_KINDS, SwitchedGovernor } from '../governor/switched-governor.ts';
import { TrafficControl } from './traffic-control.ts';

/** The queue before the workers, and what controllers may turn of it. Whoever changes the limit has the queue look again. */
export function createAdmission(governor: () => RuntimeFile['governor'], metrics: GatewayMetrics, adaptive: () => boolean): { admission: AdmissionQueue; control: TrafficControl } {
  const admission = new AdmissionQueue({
    limit: (): number => control.limit(),
    maxQueued: () => governor().max_queued_requests,
    urgentShare: () => governor().urgent_share,
    onChange: (active, queued) => {
      metrics.activeStreams.set(active);
      metrics.queueDepth.set(queued);
    },
  });
  const limit = new SwitchedGovernor({
    settings: governor,
    adaptive,
    inflight: (): number => admission.active,
    onChange: (value) => {
      metrics.concurrencyLimit.set(value);
      admission.admitWaiting();
    },
    onSwitch: (kind) => GOVERNOR_KINDS.forEach((each) => metrics.governor.set({ kind: each }, each === kind ? 1 : 0)),
  });
  const control = new TrafficControl(limit, metrics);
  return { admission, control };
}
