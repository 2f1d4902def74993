import type { EnvironmentTable } from '@mlx-serving/service-kit';
import type { ComposeFile, ComposeService } from './compose-file.ts';

/** The environment table of each app, by its name. */
export type EnvironmentTables = ReadonlyMap<string, EnvironmentTable>;

/** Read by every service as a process, besides its own table. */
const PROCESS_VARIABLES = ['MLX_SERVING_LOG_LEVEL'];

/** The one service that is not built here and that others call. */
const REDIS_PORT = 6379;

/** Ports on the host of a native worker, from its own defaults. */
export interface WorkerPorts {
  readonly grpc: readonly number[];
  readonly metrics: readonly number[];
}

/** Holds each service that is built here against the environment table of its app. */
export function composeServiceProblems(file: ComposeFile, tables: EnvironmentTables, worker: WorkerPorts): string[] {
  const missing = [...tables.keys()].filter((app) => !Object.values(file.services).some(({ build }) => build?.args['SERVICE'] === app));
  const built = Object.entries(file.services).filter(([, { build }]) => build !== undefined);
  return [
    ...missing.map((app) => `no service runs apps/${app}`),
    ...built.flatMap(([name, service]) => {
      const table = tables.get(service.build?.args['SERVICE'] ?? '');
      if (!table) return [`${name}: there is no app ${service.build?.args['SERVICE']}`];
      return [...environmentProblems(service, table), ...addressProblems(file, service, tables, worker), ...portProblems(service, table)].map((problem) => `${name}: ${problem}`);
    }),
  ];
}

/** The text of a value after Compose has put its defaults in. */
function interpolated(value: string): string {
  return value.replace(/\$\{\w+:-([^}]*)\}/g, '$1');
}

function environmentProblems({ environment = {} }: ComposeService, table: EnvironmentTable): string[] {
  const entries = Object.values(table);
  const unknown = Object.keys(environment).filter((name) => !PROCESS_VARIABLES.includes(name) && !entries.some((entry) => entry.name === name));
  const refused = entries.filter(({ name, schema }) => name in environment && !schema.safeParse(interpolated(environment[name] ?? '') || undefined).success);
  // Inside a container, loopback is the container itself.
  const alone = entries.filter(({ name, default: fallback = '' }) => name !== 'MLX_SERVING_HOST' && fallback.includes('127.0.0.1') && !(name in environment));
  return [
    ...unknown.map((name) => `the service does not read ${name}`),
    ...refused.map(({ name }) => `${name}=${environment[name]} is refused by the service`),
    ...alone.map(({ name }) => `${name} keeps its default, which is the container itself`),
  ];
}

function addressProblems(file: ComposeFile, service: ComposeService, tables: EnvironmentTables, worker: WorkerPorts): string[] {
  const values = Object.entries(service.environment ?? {}).flatMap(([name, value]) => interpolated(value).split(',').map((part) => [name, part] as const));
  return values.flatMap(([name, value]) => {
    const [, host = '', port = ''] = /^(?:\w+:\/\/)?([\w.-]+):(\d+)$/.exec(value) ?? [];
    if (host === '' || host === '127.0.0.1') return [];
    const problem = targetProblem(file, service, tables, worker, host, Number(port));
    return problem === undefined ? [] : [`${name}: ${problem}`];
  });
}

function targetProblem(file: ComposeFile, from: ComposeService, tables: EnvironmentTables, worker: WorkerPorts, host: string, port: number): string | undefined {
  if (host === 'host.docker.internal') return worker.grpc.includes(port) ? undefined : `no worker listens on ${port} by default`;
  const other = file.services[host];
  if (!other) return `there is no service ${host}`;
  if (!other.networks?.some((network) => from.networks?.includes(network))) return `${host} is on no network of this service`;
  const known = other.build ? portsOf(tables.get(other.build.args['SERVICE'] ?? '') ?? {}) : [REDIS_PORT];
  return known.includes(port) ? undefined : `${host} does not listen on ${port}`;
}

/** Default ports of a service. */
function portsOf(table: EnvironmentTable): number[] {
  return Object.values(table).filter(({ name }) => name.endsWith('_PORT')).map(({ default: port }) => Number(port));
}

function operationsPort(table: EnvironmentTable): number {
  return Number(Object.values(table).find(({ name }) => name.endsWith('_OPERATIONS_PORT'))?.default);
}

function portProblems({ ports = [], healthcheck }: ComposeService, table: EnvironmentTable): string[] {
  const probe = `http://127.0.0.1:${operationsPort(table)}/health/ready`;
  return [
    ...ports.filter((port) => !portsOf(table).includes(Number(port.split(':').at(-1)))).map((port) => `nothing listens on ${port}`),
    ...ports.filter((port) => Number(port.split(':').at(-1)) === operationsPort(table)).map((port) => `${port} publishes the operations port`),
    ...(healthcheck?.test.at(-1) === probe ? [] : [`its health check must ask ${probe}`]),
  ];
}

/** Holds Prometheus' targets against the operations ports of the services and of the workers. */
export function scrapeProblems(targets: readonly string[], file: ComposeFile, tables: EnvironmentTables, worker: WorkerPorts): string[] {
  const services = Object.entries(file.services).flatMap(([name, { build }]) => {
    const table = tables.get(build?.args['SERVICE'] ?? '');
    return table ? [`${name}:${operationsPort(table)}`] : [];
  });
  const expected = [...services, ...worker.metrics.map((port) => `host.docker.internal:${port}`)];
  return [
    ...expected.filter((target) => !targets.includes(target)).map((target) => `Prometheus does not scrape ${target}`),
    ...targets.filter((target) => !expected.includes(target)).map((target) => `Prometheus scrapes ${target}, which is nothing`),
  ];
}
