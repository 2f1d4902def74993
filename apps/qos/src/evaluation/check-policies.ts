import type { RuntimeFile } from '@mlx-serving/policy';
import { needsPercentile, sloPercentile } from './slo-percentile.ts';

/** What the schema of `runtime.yaml` cannot see: policies with one id, and SLOs that do not say which percentile they mean. */
export function checkPolicies({ qos_monitor }: RuntimeFile): { path: (string | number)[]; message: string }[] {
  const seen = new Set<string>();
  return qos_monitor.policy_store.policies.flatMap((policy, index) => {
    const path = ['qos_monitor', 'policy_store', 'policies', index];
    const repeated = seen.has(policy.id);
    seen.add(policy.id);
    const nameless = policy.slos.flatMap((slo, at) =>
      needsPercentile(slo) && sloPercentile(slo) === undefined
        ? [{ path: [...path, 'slos', at, 'name'], message: `An SLO on ${slo.metric} needs a percentile, or a name such as ${slo.metric}_p95.` }]
        : [],
    );
    return [...(repeated ? [{ path: [...path, 'id'], message: `There are two policies ${policy.id}.` }] : []), ...nameless];
  });
}
