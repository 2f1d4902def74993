import { readdirSync, readFileSync } from 'node:fs';
import { createMetrics, type EnvironmentTable, type ErrorCode, type ErrorEntry, type MetricEntry, type MetricsTable } from '@mlx-serving/service-kit';

/** What one service says about itself in its tables. */
export interface ServiceTables {
  readonly name: string;
  readonly metrics: readonly MetricEntry[];
  readonly errors: ReadonlyMap<string, ErrorEntry>;
  readonly environment: EnvironmentTable;
}

const root = new URL('../../', import.meta.url);

/** The tables of every service, in the order of their names, the worker last. Each app has them in the same files. */
export async function readServiceTables(): Promise<ServiceTables[]> {
  const apps = readdirSync(new URL('apps', root)).sort();
  return [...(await Promise.all(apps.map(readApp))), readWorker()];
}

async function readApp(name: string): Promise<ServiceTables> {
  const load = (file: string): Promise<unknown> => import(new URL(`apps/${name}/src/${file}.ts`, root).href);
  const { metricsTable } = (await load('metrics')) as { metricsTable: MetricsTable };
  const { errors } = (await load('errors')) as { errors: { table: Record<string, ErrorEntry> } };
  const { environment } = (await load('config')) as { environment: EnvironmentTable };
  return { name, metrics: Object.values(metricsTable), errors: new Map(Object.entries(errors.table)), environment };
}

/** The names of the metrics that every service has besides its table: those of its process. */
export async function processMetricNames(): Promise<string[]> {
  const { registry } = createMetrics({});
  return (await registry.getMetricsAsJSON()).map((metric) => metric.name);
}

/** The worker's tables, read from its source: a literal tuple of metrics and a literal dictionary of reasons. */
function readWorker(): ServiceTables {
  const source = (file: string): string => readFileSync(new URL(`python-worker/src/mlx_worker/${file}.py`, root), 'utf8');
  return { name: 'worker', metrics: workerMetrics(source('metrics')), errors: workerErrors(source('errors')), environment: {} };
}

/** @throws Error when a row is not written the way that is understood here */
export function workerMetrics(source: string): MetricEntry[] {
  const prefix = /^PREFIX = "(\w+)"$/m.exec(source)?.[1] ?? '';
  const table = section(source, 'TABLE');
  const rows = [...table.matchAll(/\(\s*(Counter|Gauge|Histogram),\s*"(\w+)",\s*((?:"[^"]*"\s*)+),\s*\(([^)]*)\),?\s*\)/g)];
  if (rows.length === 0 || rows.length !== (table.match(/\b(Counter|Gauge|Histogram), *\n? *"/g) ?? []).length) throw new Error('A row of TABLE in metrics.py is not understood.');
  return rows.map(([, type = '', name = '', help = '', labels = '']) => ({
    type: type.toLowerCase() as MetricEntry['type'],
    name: `${prefix}${name}`,
    help: strings(help).join(''),
    labels: strings(labels),
  }));
}

/** @throws Error when a row is not written the way that is understood here */
export function workerErrors(source: string): Map<string, ErrorEntry> {
  const table = section(source, 'REASONS');
  const rows = [...table.matchAll(/"([A-Z_]+)":\s*\(\s*(?:grpc\.StatusCode\.(\w+)|INVALID),\s*((?:"[^"]*"\s*)+),?\s*\)/g)];
  if (rows.length === 0 || rows.length !== (table.match(/"[A-Z_]+":/g) ?? []).length) throw new Error('A row of REASONS in errors.py is not understood.');
  return new Map(rows.map(([, reason = '', code = 'INVALID_ARGUMENT', message = '']) => [reason, { code: code as ErrorCode, message: strings(message).join('').replaceAll('!r}', '}') }]));
}

function section(source: string, name: string): string {
  const start = source.search(new RegExp(`^${name}:`, 'm'));
  return start < 0 ? '' : source.slice(start, source.slice(start).search(/^[)}]$/m) + start);
}

function strings(source: string): string[] {
  return [...source.matchAll(/"([^"]*)"/g)].map(([, text = '']) => text);
}
