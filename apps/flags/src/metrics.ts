import type { Registry } from 'prom-client';
import { createMetrics, type Metrics, type MetricsTable } from '@mlx-serving/service-kit';
import { WRITE_KINDS } from './flags/flag-change.ts';
import type { LiveFlags } from './snapshot/live-flags.ts';

/** Every metric of the flag service. */
export const metricsTable = {
  decisions: { type: 'counter', name: 'mlx_serving_feature_flags_decisions_total', help: 'Decisions that the gateways reported.', labels: ['feature', 'enabled'] },
  rolloutPercentage: { type: 'gauge', name: 'mlx_serving_feature_flags_rollout_percentage', help: 'Rollout percentage of each flag, 0 to 100.', labels: ['feature'] },
  killSwitch: { type: 'gauge', name: 'mlx_serving_feature_flags_kill_switch', help: 'Whether the global kill switch holds: value="true" 1, or value="false" 0.', labels: ['value'] },
  killedFlags: { type: 'gauge', name: 'mlx_serving_feature_flags_killed_flags', help: 'Flags whose kill holds.' },
  undecodableEntries: { type: 'gauge', name: 'mlx_serving_feature_flags_undecodable_entries', help: 'Entries in Redis that cannot be read; their last good value stays in force.' },
  writes: { type: 'counter', name: 'mlx_serving_feature_flags_writes_total', help: 'Changes by kind: set, delete, kill, revive, emergency, segment, file.', labels: ['kind'] },
  refusedFiles: { type: 'counter', name: 'mlx_serving_feature_flags_refused_files_total', help: 'Configuration files that were invalid and changed nothing.' },
  linkedReplicas: { type: 'gauge', name: 'mlx_serving_feature_flags_linked_replicas', help: 'Gateways that are linked.' },
  storeErrors: { type: 'counter', name: 'mlx_serving_feature_flags_store_errors_total', help: 'Reads of Redis that failed.' },
  journalledKills: { type: 'gauge', name: 'mlx_serving_feature_flags_journalled_kills', help: 'Kills on disk that Redis does not have yet.' },
  storeLost: { type: 'gauge', name: 'mlx_serving_feature_flags_store_lost', help: '1 while Redis has lost data and an operator must decide what holds.' },
  revision: { type: 'gauge', name: 'mlx_serving_feature_flags_revision', help: 'Revision of the flags in force.' },
} as const satisfies MetricsTable;

export type FlagsMetrics = Metrics<typeof metricsTable>;

export function createFlagsMetrics(): FlagsMetrics {
  const metrics = createMetrics(metricsTable);
  for (const kind of WRITE_KINDS) metrics.writes.inc({ kind }, 0);
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

const OWN_PREFIX = 'mlx_serving_feature_flags';

/** The names under which the metrics of flags are shown: `observability.metric_prefix` of the configuration file (SPEC F26). */
export class MetricNames {
  readonly #registry: Registry;
  #prefix = OWN_PREFIX;
  #exported = true;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  use({ metric_prefix, export_metrics }: { metric_prefix: string; export_metrics: boolean }): void {
    this.#prefix = metric_prefix;
    this.#exported = export_metrics;
  }

  /** What /metrics answers. @param refresh called before each answer */
  showing(refresh: () => void): Pick<Registry, 'metrics' | 'contentType'> {
    return {
      contentType: this.#registry.contentType,
      metrics: async () => {
        refresh();
        return this.#renamed(await this.#registry.metrics());
      },
    };
  }

  #renamed(text: string): string {
    const own = new RegExp(`^((?:# (?:HELP|TYPE) )?)${OWN_PREFIX}_`);
    if (!this.#exported) return text.split('\n').filter((line) => !own.test(line)).join('\n');
    if (this.#prefix === OWN_PREFIX) return text;
    return text.split('\n').map((line) => line.replace(own, `$1${this.#prefix}_`)).join('\n');
  }
}
