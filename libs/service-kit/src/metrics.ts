import type { MetricsSource } from './operations-server.ts';
import { AggregatorRegistry, collectDefaultMetrics, Counter, Gauge, Histogram, type MetricObjectWithValues, type MetricValue, Registry } from 'prom-client';

/** One row of a service's metrics table. Names follow Prometheus' rules; `labels` must be bounded sets. */
export interface MetricEntry {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  /** Upper bounds of a histogram, in the unit that the name says. */
  readonly buckets?: readonly number[];
  /** What the processes of one service show together. Default: the sum. */
  readonly together?: 'sum' | 'min' | 'max';
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
  const options = { name: entry.name, help: entry.help, labelNames: [...(entry.labels ?? [])], registers: [registry], aggregator: entry.together ?? 'sum' };
  if (entry.type === 'counter') return new Counter(options);
  if (entry.type === 'gauge') return new Gauge(options);
  return new Histogram(entry.buckets ? { ...options, buckets: [...entry.buckets] } : options);
}

/** What the registry of one process holds, in a form that can be sent. */
export type MetricsSnapshot = MetricObjectWithValues<MetricValue<string>>[];

/** The metrics of several processes as if they were one. */
export function metricsTogether(collect: () => Promise<readonly MetricsSnapshot[]>): MetricsSource {
  return { contentType: Registry.PROMETHEUS_CONTENT_TYPE, metrics: async () => AggregatorRegistry.aggregate([...(await collect())]).metrics() };
}
