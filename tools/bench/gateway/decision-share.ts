import { compileFlags } from '@mlx-serving/evaluation';
import { flagConfig } from '@mlx-serving/policy';
import { create } from '@bufbuild/protobuf';
import { RoutingTableSchema } from '@mlx-serving/contracts';
import { decide } from '../../../apps/gateway/src/decision/decide.ts';
import { decisionHeaders } from '../../../apps/gateway/src/openai/decision-headers.ts';

const DECISIONS = 20_000;
const parents = ['phase4_rollout', 'ttft_pipeline', 'qos_monitor', 'adaptive_governor', 'http2_transport'];
const children = ['ttft_pipeline.warmup_queue', 'ttft_pipeline.speculation', 'ttft_pipeline.kv_prep', 'qos_monitor.evaluator', 'qos_monitor.executor', 'qos_monitor.policy_store'];

/** As many flags as config/feature-flags.yaml has, and of the same kinds, half of them on. */
const flags = compileFlags({
  flags: [...parents, ...children].map((name, index) => ({
    name,
    config: flagConfig.parse({ enabled: true, rolloutPercentage: index % 2 === 0 ? 100 : 50, hashSeed: `seed-${index}`, ...(index === 0 ? {} : { requires: ['phase4_rollout'] }) }),
    killed: false,
  })),
  emergency: { killSwitch: false, rollbackToBaseline: false },
});
const table = create(RoutingTableSchema, { revision: 3n, enabled: true, rolloutPercentage: 50, strategy: 'hash', hashKey: 'user_id', hashSeed: 'canary' });

/**
 * Microseconds of processor time to evaluate all flags and choose the variant of one request.
 * @param stamped and to write the stamp, too
 */
export async function decisionMicroseconds({ stamped }: { readonly stamped: boolean }): Promise<number> {
  // A running gateway is not measured cold.
  decideAll(stamped);
  const began = process.cpuUsage();
  decideAll(stamped);
  const { user, system } = process.cpuUsage(began);
  return (user + system) / DECISIONS;
}

/** @throws Error when nothing was decided */
function decideAll(stamped: boolean): void {
  let written = 0;
  for (let index = 0; index < DECISIONS; index++) {
    const request = { requestId: `request-${index}`, user: `user-${index}`, model: 'bench', draw: 0 };
    const decision = decide({ revision: 1n, flags, rollbackToBaseline: false }, { table, canaryAvailable: true }, request);
    written += stamped ? Object.keys(decisionHeaders(decision)).length : decision.enabledFlags.length;
  }
  if (written === 0) throw new Error('Nothing was decided.');
}
