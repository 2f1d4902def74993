import type { Logger } from '@mlx-serving/service-kit';
import type { CanaryMetrics } from '../metrics.ts';
import type { StageGate } from '../webhooks/stage-gate.ts';
import type { RolloutState } from './rollout-state.ts';

export interface SampleRatioAlarmOptions {
  readonly metrics: CanaryMetrics;
  readonly gate: StageGate;
  readonly logger: Logger;
}

/** Requests do not fall as the share says: the split or the reports are broken, which a person must hear of. Told once each time. */
export class SampleRatioAlarm {
  readonly #options: SampleRatioAlarmOptions;
  #rings = false;

  constructor(options: SampleRatioAlarmOptions) {
    this.#options = options;
  }

  set(mismatch: boolean, state: RolloutState): void {
    const { metrics, gate, logger } = this.#options;
    metrics.sampleRatioMismatch.set(mismatch ? 1 : 0);
    if (mismatch && !this.#rings) {
      logger.error({ id: state.id, percentage: state.percentage }, 'requests do not fall to the canary as its share says: no comparison can be trusted');
      gate.tell('sample_ratio_mismatch', state);
    }
    this.#rings = mismatch;
  }
}
