import { EventEmitter } from 'node:events';
import type { SloPolicy, SloVerdict } from '@mlx-serving/policy';
import { type QosLogger, QosMonitor, type QosMonitorOptions, type QosMonitorSurroundings } from './qos-monitor.ts';

export interface PolicyEngineEvents {
  /** The policy's id, and its SLOs that are violated; empty when none is. */
  'policy:evaluated': [string, readonly SloVerdict[]];
}

/** Policies in one place: what there are, and what each finds (SPEC Q5). Share a monitor, or let it have its own. */
export class PolicyEngine extends EventEmitter<PolicyEngineEvents> {
  readonly monitor: QosMonitor;

  /** @throws ZodError when the options are not `qos_monitor` of runtime.yaml */
  constructor(options: QosMonitorOptions | QosMonitor, logger?: QosLogger, surroundings: QosMonitorSurroundings = {}) {
    super();
    this.monitor = options instanceof QosMonitor ? options : new QosMonitor(options, logger, surroundings);
  }

  /** Highest priority first. */
  getPolicies(): SloPolicy[] {
    return this.monitor.getPolicies().toSorted((left, right) => right.priority - left.priority);
  }

  async evaluate(): Promise<void> {
    const verdicts = this.monitor.evaluate();
    for (const { id } of this.getPolicies().filter(({ enabled }) => enabled)) {
      this.emit('policy:evaluated', id, verdicts.filter(({ policy, verdict }) => policy === id && verdict === 'violated'));
    }
  }
}
