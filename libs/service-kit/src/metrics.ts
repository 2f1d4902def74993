import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** One row of a service's metrics table. Names follow Prometheus' rules; `labels` must be bounded sets. */
export interface MetricEntry {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  /** Upper bounds of a histogram, in the unit that the name says. */
  readonly buckets?: readonly number[];
}

export type MetricsTable = Record<string, MetricEntry>;

type Metric<E extends MetricEntry> = E['type'] extends 'counter' ? Counter : E['type'] extends 'gauge' ? Gauge : Histogram;

export type Metrics<T extends MetricsTable> = { readonly [K in keyof T]: Metric<T[K]> } & { readonly registry: Registry };

/** Registers every metric of a table, and the process's own, in a registry of their own. */
export function createMetrics<T extends MetricsTable>(table: T): Metrics<T> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const entries = Object.entries(table).map(([key, entry]) => [key, createMetric(entry, registry)]);
  return { ...Object.fromEntries(entries), registry } as Metrics<T>;
}

function createMetric(entry: MetricEntry, registry: Registry): Counter | Gauge | Histogram {
  const options = { name: entry.name, help: entry.help, labelNames: [...(entry.labels ?? [])], registers: [registry] };
  if (entry.type === 'counter') return new Counter(options);
  if (entry.type === 'gauge') return new Gauge(options);
  return new Histogram(entry.buckets ? { ...options, buckets: [...entry.buckets] } : options);
}
