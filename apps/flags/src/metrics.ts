import { createMetrics, type Metrics, type MetricsTable } from '@mlx-serving/service-kit';
import type { LiveFlags } from './snapshot/live-flags.ts';

/** Every metric of the flag service. */
export const metricsTable = {
  decisions: { type: 'counter', name: 'mlx_serving_feature_flags_decisions_total', help: 'Decisions that the gateways reported.', labels: ['feature', 'enabled'] },
  rolloutPercentage: { type: 'gauge', name: 'mlx_serving_feature_flags_rollout_percentage', help: 'Rollout percentage of each flag, 0 to 100.', labels: ['feature'] },
  killSwitch: { type: 'gauge', name: 'mlx_serving_feature_flags_kill_switch', help: 'Whether the global kill switch holds: value="true" 1, or value="false" 0.', labels: ['value'] },
  killedFlags: { type: 'gauge', name: 'mlx_serving_feature_flags_killed_flags', help: 'Flags whose kill holds.' },
  undecodableEntries: { type: 'gauge', name: 'mlx_serving_feature_flags_undecodable_entries', help: 'Entries in Redis that cannot be read; their last good value stays in force.' },
  writes: { type: 'counter', name: 'mlx_serving_feature_flags_writes_total', help: 'Changes by kind: set, kill, revive, emergency, file.', labels: ['kind'] },
  refusedFiles: { type: 'counter', name: 'mlx_serving_feature_flags_refused_files_total', help: 'Configuration files that were invalid and changed nothing.' },
  linkedReplicas: { type: 'gauge', name: 'mlx_serving_feature_flags_linked_replicas', help: 'Gateways that are linked.' },
  storeErrors: { type: 'counter', name: 'mlx_serving_feature_flags_store_errors_total', help: 'Reads of Redis that failed.' },
  revision: { type: 'gauge', name: 'mlx_serving_feature_flags_revision', help: 'Revision of the flags in force.' },
} as const satisfies MetricsTable;

export type FlagsMetrics = Metrics<typeof metricsTable>;

export function createFlagsMetrics(): FlagsMetrics {
  const metrics = createMetrics(metricsTable);
  for (const kind of ['set', 'kill', 'revive', 'emergency', 'file']) metrics.writes.inc({ kind }, 0);
  return metrics;
}

/** Shows the flags in force. Flags that are gone disappear. */
export function showLiveFlags(metrics: FlagsMetrics, live: LiveFlags): void {
  const flags = live.flags;
  metrics.rolloutPercentage.reset();
  for (const { name, config } of flags) metrics.rolloutPercentage.set({ feature: name }, config.rolloutPercentage);
  metrics.killSwitch.reset();
  metrics.killSwitch.set({ value: String(live.emergency.killSwitch) }, live.emergency.killSwitch ? 1 : 0);
  metrics.killedFlags.set(flags.filter(({ kill }) => kill).length);
  metrics.undecodableEntries.set(live.undecodable.size);
  metrics.revision.set(Number(live.revision));
}
