import type { MetricEntry } from '@mlx-serving/service-kit';
import { groupingLabelsOf, metricsOf } from './promql-metrics.ts';

/** Labels that Prometheus itself puts on everything, and the one of a histogram's buckets. */
const ALWAYS = ['job', 'instance', 'le'];

/** Series by name: what the tables give, a histogram's three, and what Prometheus adds. The value is the labels. */
export function knownSeries(tables: readonly MetricEntry[], processMetrics: readonly string[]): Map<string, readonly string[]> {
  const series = new Map<string, readonly string[]>([['up', []], ...processMetrics.map((name) => [name, []] as const)]);
  for (const { name, type, labels = [] } of tables) {
    for (const suffix of type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']) series.set(name + suffix, labels);
  }
  return series;
}

/** What is wrong with one expression: a metric that no table has, or a label that its metrics do not have. */
export function expressionProblems(expression: string, series: ReadonlyMap<string, readonly string[]>): string[] {
  const uses = metricsOf(expression);
  if (uses.length === 0) return [`${expression}: reads no metric`];
  const known = [...uses.flatMap(({ name }) => series.get(name) ?? []), ...ALWAYS];
  return [
    ...uses.filter(({ name }) => !series.has(name)).map(({ name }) => `${expression}: no table has ${name}`),
    ...[...uses.flatMap(({ labels }) => labels), ...groupingLabelsOf(expression)]
      .filter((label) => !known.includes(label))
      .map((label) => `${expression}: its metrics have no label ${label}`),
  ];
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat?: string }[];
  readonly datasource?: { readonly uid: string };
}

export interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
}

/** What is wrong with a dashboard: unknown metrics or labels, a second panel of one id, a panel without query, another data source. */
export function dashboardProblems({ panels }: Dashboard, series: ReadonlyMap<string, readonly string[]>, dataSource: string): string[] {
  const ids = panels.map(({ id }) => id);
  const graphs = panels.filter(({ type }) => type !== 'row');
  return [
    ...ids.filter((id, index) => ids.indexOf(id) !== index).map((id) => `two panels have the id ${id}`),
    ...graphs.filter(({ targets = [] }) => targets.length === 0).map(({ title }) => `${title}: has no query`),
    ...graphs.filter(({ datasource }) => datasource?.uid !== dataSource).map(({ title }) => `${title}: its data source is not ${dataSource}`),
    ...graphs.flatMap(({ title, targets = [] }) => targets.flatMap(({ expr, legendFormat = '' }) => [...expressionProblems(expr, series), ...legendProblems(expr, legendFormat, series)].map((problem) => `${title}: ${problem}`))),
  ];
}

function legendProblems(expression: string, legend: string, series: ReadonlyMap<string, readonly string[]>): string[] {
  const grouped = groupingLabelsOf(expression);
  const shown = grouped.length > 0 ? grouped : [...metricsOf(expression).flatMap(({ name }) => series.get(name) ?? []), ...ALWAYS];
  return [...legend.matchAll(/\{\{\s*(\w+)\s*\}\}/g)].map(([, label = '']) => label).filter((label) => !shown.includes(label)).map((label) => `the legend shows ${label}, which the result does not have`);
}
