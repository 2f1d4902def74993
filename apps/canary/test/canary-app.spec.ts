import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { StreamOutcome } from '@mlx-serving/contracts';
import { readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { startRedis } from '@mlx-serving/testing';
import { type CanaryApp, createApp } from '../src/app.ts';
import { environment } from '../src/config.ts';
import { FakeGateway } from './fake-gateway.ts';
import { until } from './until.ts';

const shipped = fileURLToPath(new URL('../../../config/canary.yaml', import.meta.url));

describe('the canary service', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let directory: string;
  let text: string;
  let tests = 0;
  const stops: (() => Promise<unknown> | void)[] = [];

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());
  beforeEach(async () => {
    tests++;
    directory = await mkdtemp(join(tmpdir(), 'canary-'));
    text = (await readFile(shipped, 'utf8')).replace('intervalMs: 5000', 'intervalMs: 100');
    await save(text);
  });
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await rm(directory, { recursive: true });
  });

  function save(changed: string): Promise<void> {
    return writeFile(join(directory, 'canary.yaml'), changed);
  }

  async function start(variables: Record<string, string> = {}): Promise<CanaryApp> {
    const values = {
      MLX_SERVING_CANARY_GRPC_PORT: '0',
      MLX_SERVING_CANARY_OPERATIONS_PORT: '0',
      MLX_SERVING_CONFIG_DIR: directory,
      MLX_SERVING_CANARY_WORKERS: '127.0.0.1:9',
      REDIS_URL: redis.url,
      MLX_SERVING_REDIS_PREFIX: `test-${tests}:`,
      ...variables,
    };
    const app = await createApp(readEnvironment(environment, values), silentLogger);
    stops.push(() => app.stop());
    await app.start();
    return app;
  }

  async function restart(app: CanaryApp): Promise<CanaryApp> {
    stops.splice(stops.length - 1);
    await app.stop();
    return start();
  }

  function link(app: CanaryApp, replicaId?: string, revision = 0n): FakeGateway {
    const gateway = new FakeGateway(app.ports.grpc, replicaId, revision);
    stops.push(() => gateway.close());
    return gateway;
  }

  async function operations(app: CanaryApp, path: string): Promise<string> {
    return (await fetch(`http://127.0.0.1:${app.ports.operations}${path}`)).text();
  }

  it('gives table and comparison at the hello, and the changed table when canary.yaml changes', async () => {
    const app = await start();
    const gateway = link(app, 'gateway-1');
    const table = await until('the table', () => gateway.tables[0]);
    expect(table).toMatchObject({ revision: 1n, enabled: true, rolloutPercentage: 1, strategy: 'hash', hashKey: 'user_id', hashSeed: 'canary' });
    expect(await until('the comparison', () => gateway.comparisons[0])).toMatchObject({ status: 'insufficient_data', baseline: { requests: 0n } });
    await save(text.replace('rolloutPercentage: 1', 'rolloutPercentage: 12.5\n  hashSeed: other'));
    expect(await until('the changed table', () => gateway.tables[1])).toMatchObject({ revision: 2n, rolloutPercentage: 12.5, hashSeed: 'other' });
    gateway.send({ case: 'acknowledgement', value: { revision: 2n } });
    expect(await gateway.client.getState({})).toMatchObject({ routingTable: { revision: 2n }, linkedGateways: ['gateway-1'] });
    expect(await operations(app, '/metrics')).toContain('mlx_serving_canary_routing_revision 2');
  });

  it('keeps the old table when canary.yaml breaks, and counts the refusal', async () => {
    const app = await start();
    await save(text.replace('rolloutPercentage: 1', 'rolloutPercentage: 101'));
    await app.reload?.();
    expect(await operations(app, '/metrics')).toMatch(/^mlx_serving_canary_refused_configurations_total [1-9]/m);
    expect(await link(app).client.getState({})).toMatchObject({ routingTable: { revision: 1n, rolloutPercentage: 1 } });
  });

  it('keeps the revision over restarts, and raises it when the file changed meanwhile', async () => {
    let app = await start();
    await save(text.replace('rolloutPercentage: 1', 'rolloutPercentage: 2'));
    await app.reload?.();
    app = await restart(app);
    expect(await operations(app, '/metrics')).toContain('mlx_serving_canary_routing_revision 2');
    await save(text);
    app = await restart(app);
    expect(await operations(app, '/metrics')).toContain('mlx_serving_canary_routing_revision 3');
  });

  it('is disabled without a canary worker and says why, until one joins a gateway', async () => {
    const app = await start({ MLX_SERVING_CANARY_WORKERS: '' });
    expect(JSON.parse(await operations(app, '/health/ready'))).toMatchObject({ status: 'ready', routing: { enabled: true, disabledReason: 'NO_CANARY_WORKER' } });
    const gateway = link(app, 'gateway-1');
    expect((await until('the comparison', () => gateway.comparisons[0])).status).toBe('disabled');
    const deploy = () => gateway.client.control({ action: { case: 'deploy', value: { percentage: 20 } } });
    await expect(deploy()).rejects.toThrow(/can get no traffic: NO_CANARY_WORKER/);
    gateway.send({ case: 'canaryWorkers', value: { addresses: ['127.0.0.1:9'] } });
    await until('another status', () => gateway.comparisons.at(-1)?.status === 'insufficient_data');
    expect(await deploy()).toMatchObject({ changed: true, rollout: { percentage: 20 } });
    gateway.close();
    await until('no worker', async () => (await operations(app, '/health/ready')).includes('NO_CANARY_WORKER'));
  });

  it('works without Redis at 0 %, says so, goes above the revision of its gateways, and lets nobody begin what it cannot know', async () => {
    const app = await start({ REDIS_URL: 'redis://127.0.0.1:9' });
    const gateway = link(app, 'gateway-1', 41n);
    expect(await until('the table above', () => gateway.tables.find((table) => table.revision === 42n))).toMatchObject({ enabled: true, rolloutPercentage: 0 });
    expect(await gateway.client.getState({})).toMatchObject({ rollout: { status: 'frozen', reason: 'the kept rollout could not be read yet', percentage: 0 } });
    await expect(gateway.client.control({ action: { case: 'deploy', value: { percentage: 10 } }, force: true })).rejects.toThrow(/could not be read yet/);
    expect(await gateway.client.control({ action: { case: 'rollback', value: {} } })).toMatchObject({ changed: true, rollout: { phase: 'rolled_back' } });
    expect(JSON.parse(await operations(app, '/health/ready'))).toMatchObject({ status: 'ready', store: expect.stringContaining('not reachable') });
  });

  it('compares the variants by what the gateways report, each report once', async () => {
    const app = await start();
    const gateway = link(app, 'gateway-1');
    const report = (index: number) => ({
      decision: { requestId: `r${index}`, variant: index % 2 === 0 ? 'baseline' : 'canary' },
      gatewayId: 'gateway-1',
      outcome: index === 1 ? StreamOutcome.FAILED : StreamOutcome.OK,
      durationMs: index % 2 === 0 ? 200 : 300,
    });
    const reports = Array.from({ length: 60 }, (_, index) => report(index));
    gateway.report(reports);
    await until('the reports', async () => (await gateway.client.getState({})).reportsTotal === 60n);
    gateway.close();
    const again = link(app, 'gateway-1');
    again.report(reports, 2n);
    again.report([report(60)]);
    const comparison = await until('the comparison', () => again.comparisons.find((each) => each.baseline?.requests === 31n));
    expect(comparison).toMatchObject({
      baseline: { errors: 0n, errorRate: 0, latencyP95Ms: 200 },
      canary: { requests: 30n, errors: 1n, latencyP95Ms: 300 },
      status: 'inconclusive',
    });
    expect(await again.client.getState({})).toMatchObject({ reportsTotal: 61n, recent: { length: 61 }, comparison: { canary: { requests: 30n } } });
    const metrics = await operations(app, '/metrics');
    expect(metrics).toContain('mlx_serving_canary_requests_total{variant="baseline"} 31');
    expect(metrics).toContain('mlx_serving_canary_latency_p95_ms{variant="canary"} 300');
    expect(metrics).toMatch(/^mlx_serving_canary_error_rate\{variant="canary"\} 0\.033/m);
    expect(metrics).toContain('mlx_serving_canary_dropped_reports_total 2');
    expect(metrics).toContain('# TYPE mlx_serving_canary_rollbacks_total counter');
    expect(metrics).toContain('# TYPE mlx_serving_canary_rollback_triggers_total counter');
  });

  it('forgets a gateway that leaves', async () => {
    const app = await start();
    const [gateway, observer] = [link(app, 'gateway-1'), link(app, 'gateway-2')];
    await until('both links', async () => (await observer.client.getState({})).linkedGateways.length === 2);
    gateway.finish();
    await until('the end of the link', () => gateway.ended);
    expect((await observer.client.getState({})).linkedGateways).toEqual(['gateway-2']);
    expect(await operations(app, '/metrics')).toContain('mlx_serving_canary_linked_gateways 1');
  });

  it.each([
    ['reports before a hello', 'HELLO_MISSING', (gateway: FakeGateway) => gateway.report([])],
    ['a hello without an id', 'REPLICA_ID_INVALID', (gateway: FakeGateway) => gateway.send({ case: 'hello', value: { replicaId: '' } })],
    ['two hellos', 'HELLO_REPEATED', (gateway: FakeGateway) => ['a', 'b'].forEach((replicaId) => gateway.send({ case: 'hello', value: { replicaId } }))],
  ])('refuses a link with %s', async (_, reason, misbehave) => {
    const gateway = link(await start());
    misbehave(gateway);
    const problem = await until('the refusal', () => gateway.problem);
    expect(problem.metadata?.get('reason')).toEqual([reason]);
  });
});
