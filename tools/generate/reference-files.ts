import { type ErrorEntry, type MetricEntry, ServiceError } from '@mlx-serving/service-kit';
import { apiReference } from './api-reference.ts';
import type { GeneratedFile } from './generated-files.ts';
import { readServiceTables, type ServiceTables } from './service-tables.ts';

/** The reference of metrics and of errors, from the tables of all services. */
export async function referenceFiles(): Promise<GeneratedFile[]> {
  const services = await readServiceTables();
  const http = (await import(new URL('../../apps/gateway/src/openai/openai-error.ts', import.meta.url).href)) as HttpErrors;
  return [
    { path: 'docs/api.md', text: await apiReference() },
    { path: 'docs/metrics.md', text: metricsReference(services) },
    { path: 'docs/errors.md', text: errorsReference(services, http) },
  ];
}

/** How the gateway answers an error over HTTP. */
interface HttpErrors {
  readonly statusOf: (error: ServiceError) => number;
  readonly toOpenAiError: (error: ServiceError) => { error: { code: string | null } };
}

/** Services whose errors a client of the OpenAI-compatible door sees. */
const BEHIND_THE_GATEWAY = ['gateway', 'worker'];

const GENERATED = '<!-- Generated from the tables of the services: npm run generate:docs -->';

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

function errorsReference(services: readonly ServiceTables[], http: HttpErrors): string {
  return document(
    'Errors',
    [
      'An error has a gRPC status, a reason that stays the same from release to release, and a message that is safe to show.',
      'Over gRPC the reason is in the trailing metadata `reason`, and the time to wait, where there is one, in `retry-after-ms`.',
      "The gateway answers over HTTP with the status below and OpenAI's error object, whose `code` is shown where there is one, and with `Retry-After`. The admin service answers with the status below and `{error: {code, reason, message}}`.",
      'Any other failure is `INTERNAL` (500), and the log of the service has its cause.',
    ],
    services.map(({ name, errors }) => section(name, ['reason', 'gRPC', 'HTTP', 'OpenAI code', 'message'], [...errors].map((row) => errorRow(name, row, http)))),
  );
}

function errorRow(service: string, [reason, { code, message }]: [string, ErrorEntry], { statusOf, toOpenAiError }: HttpErrors): string[] {
  const error = new ServiceError(code, reason, message);
  const openAiCode = BEHIND_THE_GATEWAY.includes(service) ? toOpenAiError(error).error.code : null;
  return [`\`${reason}\``, code, String(statusOf(error)), openAiCode === null ? '' : `\`${openAiCode}\``, message];
}

function document(title: string, introduction: readonly string[], sections: readonly string[]): string {
  return `# ${title}\n\n${GENERATED}\n\n${introduction.join(' ')}\n${sections.join('')}`;
}

function section(title: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return `\n## ${title}\n\nNone.\n`;
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map((cell) => cell.replace(/[|<]/g, '\\$&')).join(' | ')} |`);
  return `\n## ${title}\n\n${lines.join('\n')}\n`;
}
