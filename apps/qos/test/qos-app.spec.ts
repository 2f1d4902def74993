import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { StreamOutcome } from '@mlx-serving/contracts';
import { readEnvironment, silentLogger, StartupError } from '@mlx-serving/service-kit';
import { createApp, type QosApp } from '../src/app.ts';
import { environment } from '../src/config.ts';
import { FakeGateway } from './fake-gateway.ts';
import { FakeWorker } from './fake-worker.ts';
import { until } from './until.ts';

const shipped = fileURLToPath(new URL('../../../config/runtime.yaml', import.meta.url));

describe('the qos service', () => {
  let directory: string;
  let text: string;
  const stops: (() => Promise<unknown> | void)[] = [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'qos-'));
    text = (await readFile(shipped, 'utf8')).replace('evaluation_interval_ms: 5000', 'evaluation_interval_ms: 20');
    await writeFile(join(directory, 'runtime.yaml'), text);
  });

  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await rm(directory, { recursive: true });
  });

  async function start(variables: Record<string, string> = {}): Promise<QosApp> {
    const values = {
      MLX_SERVING_QOS_GRPC_PORT: '0',
      MLX_SERVING_QOS_OPERATIONS_PORT: '0',
      MLX_SERVING_CONFIG_DIR: directory,
      MLX_SERVING_WORKERS: '127.0.0.1:9',
      MLX_SERVING_FLAGS_ADDRESS: 'none',
      MLX_SERVING_CANARY_ADDRESS: 'none',
      REDIS_URL: 'redis://127.0.0.1:9',
      ...variables,
    };
    const app = await createApp(readEnvironment(environment, values), silentLogger);
    stops.push(() => app.stop());
    await app.start();
    return app;
  }

  function link(app: QosApp, replicaId?: string): FakeGateway {
    const gateway = new FakeGateway(app.ports.grpc, replicaId);
    stops.push(() => gateway.close());
    return gateway;
  }

  async function operations(app: QosApp, path: string): Promise<string> {
    return (await fetch(`http://127.0.0.1:${app.ports.operations}${path}`)).text();
  }

  it('lends a limit on link-up, and the changed limit when runtime.yaml changes', async () => {
    const app = await start();
    const gateway = link(app, 'gateway-1');
    const lease = await until('the first lease', () => gateway.leases[0]);
    expect(lease).toMatchObject({ ttlMs: 15_000, directive: { case: 'concurrencyLimit', value: 64 } });
    await writeFile(join(directory, 'runtime.yaml'), text.replace('max_concurrent_streams: 64', 'max_concurrent_streams: 7'));
    const changed = await until('the changed lease', () => gateway.leases.find((each) => each.directive.value === 7));
    gateway.send({ case: 'acknowledgement', value: { leaseId: changed.id } });
    await until('the acknowledgement', async () => (await operations(app, '/metrics')).includes('mlx_serving_qos_leases{acknowledged="true"} 1'));
    expect(await gateway.client.getState({})).toMatchObject({ linkedGateways: ['gateway-1'], leases: [{ id: changed.id }] });
  });

  it('renews a lease before it ends', async () => {
    await writeFile(join(directory, 'runtime.yaml'), text.replace('lease_ttl_ms: 15000', 'lease_ttl_ms: 60'));
    const gateway = link(await start(), 'gateway-1');
    await until('two renewals', () => gateway.leases.length >= 3);
    expect(new Set(gateway.leases.map((lease) => lease.id)).size).toBe(1);
  });

  it('keeps the old settings when runtime.yaml breaks, and counts the refusal', async () => {
    const app = await start();
    const gateway = link(app, 'gateway-1');
    await until('the first lease', () => gateway.leases[0]);
    await writeFile(join(directory, 'runtime.yaml'), text.replace('max_concurrent_streams: 64', 'max_concurrent_streams: -1'));
    await app.reload?.();
    expect(await operations(app, '/metrics')).toMatch(/^mlx_serving_qos_refused_configurations_total [1-9]/m);
    expect((await gateway.client.getState({})).leases).toMatchObject([{ directive: { value: 64 } }]);
  });

  it('shows what the gateways report and counts the violations that it finds', async () => {
    const app = await start();
    const gateway = link(app, 'gateway-1');
    const reports = Array.from({ length: 120 }, (_, index) => ({
      decision: { requestId: `r${index}`, variant: 'baseline' },
      outcome: index % 10 === 0 ? StreamOutcome.FAILED : StreamOutcome.OK,
      ttftMs: 600,
      durationMs: 900,
      usage: { completionTokens: 10 },
    }));
    gateway.report(reports, 3n);
    gateway.report([{ outcome: StreamOutcome.CANCELLED, durationMs: Number.NaN }, { outcome: StreamOutcome.OK, durationMs: -5 }]);
    const state = await until('the reports', async () => {
      const answer = await gateway.client.getState({});
      return answer.reportsTotal === 122n && answer;
    });
    expect(state).toMatchObject({
      windowMs: 60_000,
      droppedReportsTotal: 3n,
      window: { requests: 121n, errors: 12n, ttftP50Ms: 600, ttftP95Ms: 600, ttftP99Ms: 600, latencyP95Ms: 900 },
    });
    expect(state.window?.tokensPerSecond).toBeGreaterThan(0);
    expect(state.recent).toHaveLength(100);
    expect(state.recent.at(-3)?.decision?.requestId).toBe('r119');
    const metrics = await until('an evaluation', async () => {
      const shown = await operations(app, '/metrics');
      return /slo_violations_total\{policy="error_rate_policy",severity="warning"\} [1-9]/.test(shown) && shown;
    });
    expect(metrics).toMatch(/^mlx_serving_qos_slo_violations_total\{policy="default_ttft_policy",severity="critical"\} [1-9]/m);
    expect(metrics).toMatch(/^mlx_serving_qos_evaluations_total\{policy="default_ttft_policy"\} [1-9]/m);
    expect(metrics).toContain('# TYPE mlx_serving_qos_remediations_total counter');
    expect(metrics).toContain('mlx_serving_qos_ttft_p95_ms{window="1m"} 600');
    expect(metrics).toContain('mlx_serving_qos_ttft_p99_ms{window="1m"} 600');
    expect(metrics).toMatch(/^mlx_serving_qos_error_rate\{window="1m"\} 0\.099/m);
    expect(metrics).toContain('mlx_serving_qos_rejected_samples_total 1');
  });

  it('counts a report that is sent again once', async () => {
    const gateway = link(await start(), 'gateway-1');
    const reports = Array.from({ length: 3 }, () => ({ outcome: StreamOutcome.OK, durationMs: 5 }));
    for (const firstSequence of [1n, 1n, 3n]) gateway.send({ case: 'reports', value: { reports, firstSequence } });
    const state = await until('the reports', async () => {
      const answer = await gateway.client.getState({});
      return answer.reportsTotal + answer.duplicateReportsTotal === 9n && answer;
    });
    expect(state).toMatchObject({ reportsTotal: 5n, duplicateReportsTotal: 4n, window: { requests: 5n } });
  });

  it('does nothing while its store is away, and says so', async () => {
    const app = await start();
    const gateway = link(app, 'gateway-1');
    gateway.report(Array.from({ length: 50 }, () => ({ outcome: StreamOutcome.OK, ttftMs: 900, durationMs: 900 })));
    await until('a violation', async () => (await gateway.client.getState({})).slos.some(({ verdict }) => verdict === 'violated'));
    expect(await gateway.client.getState({})).toMatchObject({ acting: false, remediations: [], problem: expect.stringContaining('not reachable') });
    expect(gateway.leases.every(({ directive }) => directive.value === 64)).toBe(true);
  });

  it('finds nothing violated on too few samples', async () => {
    const app = await start();
    const gateway = link(app, 'gateway-1');
    gateway.report(Array.from({ length: 19 }, () => ({ outcome: StreamOutcome.FAILED, ttftMs: 9_999 })));
    await until('the reports', async () => (await gateway.client.getState({})).reportsTotal === 19n);
    const evaluated = async (): Promise<number> => Number(/evaluations_total\{policy="error_rate_policy"\} (\d+)/.exec(await operations(app, '/metrics'))?.[1]);
    const before = await evaluated();
    await until('two more evaluations', async () => (await evaluated()) >= before + 2);
    expect(await operations(app, '/metrics')).toContain('mlx_serving_qos_slo_violations_total{policy="error_rate_policy",severity="warning"} 0');
    expect(await operations(app, '/health/ready')).toContain('insufficient_data');
  });

  it('forgets a gateway that leaves, and takes in one that links again', async () => {
    const app = await start();
    const [gateway, observer] = [link(app, 'gateway-1'), link(app, 'gateway-2')];
    await until('both links', async () => (await observer.client.getState({})).linkedGateways.length === 2);
    gateway.finish();
    await until('the end of the link', () => gateway.ended);
    await until('its leaving', async () => (await observer.client.getState({})).linkedGateways.length === 1);
    const former = link(app, 'gateway-1');
    await until('its lease', () => former.leases[0]);
    const again = link(app, 'gateway-1');
    await until('its lease', () => again.leases[0]);
    await until('the end of the former link', () => former.ended);
    expect(await observer.client.getState({})).toMatchObject({ linkedGateways: ['gateway-1', 'gateway-2'], leases: { length: 2 } });
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

  it('follows workers that come, go and come back', async () => {
    let worker = new FakeWorker('worker-1');
    const port = await worker.start();
    const app = await start({ MLX_SERVING_WORKERS: `127.0.0.1:${port}`, MLX_SERVING_CANARY_WORKERS: '127.0.0.1:9' });
    const observer = link(app, 'gateway-1');
    const seen = async (): Promise<number> => (await observer.client.getState({})).workers.length;
    await until('the worker', async () => (await seen()) === 1);
    worker.show(5);
    await until('its metrics', async () => (await operations(app, '/metrics')).includes(`mlx_serving_qos_worker_running_requests{worker="127.0.0.1:${port}"} 5`));
    expect(await operations(app, '/metrics')).toContain('mlx_serving_qos_worker_connected{worker="127.0.0.1:9"} 0');
    await worker.stop();
    await until('its loss', async () => (await seen()) === 0);
    expect(await operations(app, '/metrics')).not.toContain('mlx_serving_qos_worker_running_requests{');
    worker = new FakeWorker('worker-1');
    await worker.start(port);
    stops.push(() => worker.stop());
    await until('its return', async () => (await seen()) === 1, 8_000);
  }, 15_000);

  it('says which port is in use', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    stops.push(() => new Promise((resolve) => other.close(resolve)));
    const { port } = other.address() as { port: number };
    await expect(start({ MLX_SERVING_QOS_GRPC_PORT: String(port) })).rejects.toThrow(StartupError);
  });

  it('refuses to bind to a network without being told to trust it', async () => {
    await expect(start({ MLX_SERVING_HOST: '0.0.0.0' })).rejects.toThrow('MLX_SERVING_TRUSTED_NETWORK');
  });
});
