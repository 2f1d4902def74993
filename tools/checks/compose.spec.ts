import { describe, expect, it } from '@jest/globals';
import { address, addresses, type EnvironmentTable, port } from '@mlx-serving/service-kit';
import { type ComposeFile, composeFileProblems, type ComposeService } from './compose-file.ts';
import { composeServiceProblems, scrapeProblems } from './compose-services.ts';

const hardened = { image: 'i', cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'], read_only: true, restart: 'unless-stopped' };
const service = (name: string, operationsPort: number, more: ComposeService = {}): ComposeService => ({
  ...hardened,
  networks: ['n'],
  build: { context: '.', dockerfile: 'd', args: { SERVICE: name } },
  healthcheck: { test: ['CMD', 'node', 'healthcheck.mjs', `http://127.0.0.1:${operationsPort}/health/ready`] },
  ...more,
});

const portEntry = (name: string, value: string) => ({ name, default: value, schema: port, help: '' });
const tables = new Map<string, EnvironmentTable>([
  ['flags', { grpc: portEntry('MLX_SERVING_FLAGS_GRPC_PORT', '50052'), operations: portEntry('MLX_SERVING_FLAGS_OPERATIONS_PORT', '9102') }],
  [
    'gateway',
    {
      http: portEntry('MLX_SERVING_GATEWAY_HTTP_PORT', '3000'),
      operations: portEntry('MLX_SERVING_GATEWAY_OPERATIONS_PORT', '9101'),
      flags: { name: 'MLX_SERVING_FLAGS_ADDRESS', default: '127.0.0.1:50052', schema: address, help: '' },
      workers: { name: 'MLX_SERVING_WORKERS', schema: addresses, help: '' },
    },
  ],
]);
const worker = { grpc: [50061], metrics: [9111] };

const environment = { MLX_SERVING_FLAGS_ADDRESS: 'flags:50052', MLX_SERVING_WORKERS: '${MLX_SERVING_WORKERS:-host.docker.internal:50061}', MLX_SERVING_LOG_LEVEL: 'info' };
const good: ComposeFile = {
  version: '3.8',
  services: { flags: service('flags', 9102), gateway: service('gateway', 9101, { environment, ports: ['127.0.0.1:3000:3000'], depends_on: { flags: { condition: 'service_healthy' } } }) },
  networks: { n: {} },
};
const withGateway = (change: ComposeService): ComposeFile => ({ ...good, services: { ...good.services, gateway: { ...good.services['gateway'], ...change } } });

describe('composeFileProblems', () => {
  it('finds nothing wrong in a good file', () => {
    expect(composeFileProblems(good)).toEqual([]);
  });

  it.each<[string, ComposeService, string]>([
    ['a port that is open to the network', { ports: ['3000:3000'] }, 'gateway: 3000:3000 is published to more than loopback'],
    ['a capability', { cap_drop: [] }, 'gateway: does not drop all capabilities'],
    ['a way to privileges', { security_opt: [] }, 'gateway: may gain privileges'],
    ['a writable root', { read_only: false }, 'gateway: its root file system is not read-only'],
    ['a service that stays down', { restart: 'no' }, 'gateway: is not restarted'],
    ['a writable mount of the repository', { volumes: ['./config:/etc/x'] }, 'gateway: ./config:/etc/x must be mounted read-only'],
    ['an undeclared volume', { volumes: ['state:/x'] }, 'gateway: there is no volume state'],
    ['an undeclared network', { networks: ['m'] }, 'gateway: there is no network m'],
    ['a missing dependency', { depends_on: { redis: { condition: 'service_healthy' } } }, 'gateway: depends on redis, which does not exist'],
    ['a key of one reader only', { develop: {} } as ComposeService, 'gateway: develop is not read by both'],
  ])('finds %s', (_, change, problem) => {
    expect(composeFileProblems(withGateway(change))).toEqual([problem]);
  });

  it('finds a missing version, an unused volume, and a wait for a health check that is not there', () => {
    const { healthcheck: _, ...flags } = good.services['flags'] as ComposeService;
    expect(composeFileProblems({ services: { ...good.services, flags }, networks: { n: {} }, volumes: { old: {} } })).toEqual([
      'version is missing: docker-compose 1.29 asks for it',
      'gateway: waits for the health of flags, which has no health check',
      'the volume old is not used',
    ]);
  });
});

describe('composeServiceProblems', () => {
  it('finds nothing wrong where the file says what the tables say', () => {
    expect(composeServiceProblems(good, tables, worker)).toEqual([]);
  });

  it.each<[string, ComposeService, string]>([
    ['a variable that nobody reads', { environment: { ...environment, MLX_SERVING_FLAG_ADDRESS: 'x' } }, 'gateway: the service does not read MLX_SERVING_FLAG_ADDRESS'],
    ['a value that is refused', { environment: { ...environment, MLX_SERVING_GATEWAY_HTTP_PORT: 'web' } }, 'gateway: MLX_SERVING_GATEWAY_HTTP_PORT=web is refused by the service'],
    ['an address that was forgotten', { environment: { MLX_SERVING_WORKERS: '' } }, 'gateway: MLX_SERVING_FLAGS_ADDRESS keeps its default, which is the container itself'],
    ['a port that the other does not have', { environment: { ...environment, MLX_SERVING_FLAGS_ADDRESS: 'flags:50053' } }, 'gateway: MLX_SERVING_FLAGS_ADDRESS: flags does not listen on 50053'],
    ['a service that does not exist', { environment: { ...environment, MLX_SERVING_FLAGS_ADDRESS: 'flag:50052' } }, 'gateway: MLX_SERVING_FLAGS_ADDRESS: there is no service flag'],
    ['a service that cannot be reached', { networks: ['m'] }, 'gateway: MLX_SERVING_FLAGS_ADDRESS: flags is on no network of this service'],
    ['a worker port that is not one', { environment: { ...environment, MLX_SERVING_WORKERS: 'host.docker.internal:1' } }, 'gateway: MLX_SERVING_WORKERS: no worker listens on 1 by default'],
    ['a published port with nothing behind it', { ports: ['127.0.0.1:80:80'] }, 'gateway: nothing listens on 127.0.0.1:80:80'],
    ['a published operations port', { ports: ['127.0.0.1:9101:9101'] }, 'gateway: 127.0.0.1:9101:9101 publishes the operations port'],
    ['a probe of a path that is not there', { healthcheck: { test: ['http://127.0.0.1:9101/healthz'] } }, 'gateway: its health check must ask http://127.0.0.1:9101/health/ready'],
  ])('finds %s', (_, change, problem) => {
    expect(composeServiceProblems(withGateway(change), tables, worker)).toEqual([problem]);
  });

  it('finds an app that no service runs, and a service of no app', () => {
    expect(composeServiceProblems({ ...good, services: { gateway: service('gatewy', 1) } }, tables, worker)).toEqual(['no service runs apps/flags', 'no service runs apps/gateway', 'gateway: there is no app gatewy']);
  });
});

describe('scrapeProblems', () => {
  const targets = ['flags:9102', 'gateway:9101', 'host.docker.internal:9111'];

  it('finds nothing wrong where every service and worker is scraped', () => {
    expect(scrapeProblems(targets, good, tables, worker)).toEqual([]);
  });

  it('finds a service that is not scraped and a target that is nothing', () => {
    expect(scrapeProblems([...targets.slice(1), 'flags:9103'], good, tables, worker)).toEqual(['Prometheus does not scrape flags:9102', 'Prometheus scrapes flags:9103, which is nothing']);
  });
});
