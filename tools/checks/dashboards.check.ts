import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { processMetricNames, readServiceTables } from '../generate/service-tables.ts';
import { type Dashboard, dashboardProblems, expressionProblems, knownSeries } from './dashboard-problems.ts';

/** Every dashboard and every alert reads metrics that the services have. */

const root = new URL('../../config/', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[];
}
interface DataSources {
  readonly datasources: readonly { readonly uid: string }[];
}

const series = knownSeries((await readServiceTables()).flatMap(({ metrics }) => metrics), await processMetricNames());
const dataSource = (parse(read('grafana/provisioning/datasources/prometheus.yml')) as DataSources).datasources[0]?.uid ?? '';
const dashboards = readdirSync(new URL('grafana/dashboards', root)).filter((file) => file.endsWith('.json'));
const rules = (parse(read('prometheus/alerts.yml')) as Rules).groups.flatMap((group) => group.rules);

const problems = [
  ...dashboards.flatMap((file) => dashboardProblems(JSON.parse(read(`grafana/dashboards/${file}`)) as Dashboard, series, dataSource).map((problem) => `${file}: ${problem}`)),
  ...rules.flatMap(({ alert, expr }) => expressionProblems(expr, series).map((problem) => `alerts.yml: ${alert}: ${problem}`)),
];
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
