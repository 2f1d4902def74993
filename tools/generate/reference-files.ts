import { httpStatus, type MetricEntry } from '@mlx-serving/service-kit';
import type { GeneratedFile } from './generated-files.ts';
import { readServiceTables, type ServiceTables } from './service-tables.ts';

/** The reference of metrics and of errors, from the tables of all services. */
export async function referenceFiles(): Promise<GeneratedFile[]> {
  const services = await readServiceTables();
  return [
    { path: 'docs/metrics.md', text: metricsReference(services) },
    { path: 'docs/errors.md', text: errorsReference(services) },
  ];
}

const GENERATED = '<!-- Generated from the tables of the services: node --conditions=@mlx-serving/source tools/generate/reference-docs.ts -->';

function metricsReference(services: readonly ServiceTables[]): string {
  return document(
    'Metrics',
    [
      'Every service shows these at `/metrics` of its operations port, beside the metrics of its process (`process_*`, `nodejs_*`).',
      'A histogram `x` is shown as `x_bucket`, `x_sum` and `x_count`. The name says the unit.',
    ],
    services.map(({ name, metrics }) => section(name, ['metric', 'type', 'labels', 'meaning'], metrics.map(metricRow))),
  );
}

function metricRow({ name, type, labels = [], help }: MetricEntry): string[] {
  return [`\`${name}\``, type, labels.map((label) => `\`${label}\``).join(', '), help];
}

function errorsReference(services: readonly ServiceTables[]): string {
  return document(
    'Errors',
    [
      'An error has a gRPC status, a reason that stays the same from release to release, and a message that is safe to show.',
      'Over gRPC the reason is in the trailing metadata `reason`, and the time to wait, where there is one, in `retry-after-ms`. Over HTTP the status is the one below, the reason is `error.code`, and the time to wait is in `Retry-After`.',
      'Any other failure is `INTERNAL` (500), and the log of the service has its cause.',
    ],
    services.map(({ name, errors }) =>
      section(name, ['reason', 'gRPC', 'HTTP', 'message'], [...errors].map(([reason, { code, message }]) => [`\`${reason}\``, code, String(httpStatus(code)), message])),
    ),
  );
}

function document(title: string, introduction: readonly string[], sections: readonly string[]): string {
  return `# ${title}\n\n${GENERATED}\n\n${introduction.join(' ')}\n${sections.join('')}`;
}

function section(title: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return `\n## ${title}\n\nNone.\n`;
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
  return `\n## ${title}\n\n${lines.join('\n')}\n`;
}
