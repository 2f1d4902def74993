import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { StreamOutcome } from '@mlx-serving/contracts';
import { readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { createApp, type QosApp } from '../src/app.ts';
import { environment } from '../src/config.ts';
import { AlertReceiver } from './alert-receiver.ts';
import { FakeGateway } from './fake-gateway.ts';
import { FakeWorker } from './fake-worker.ts';
import { until } from './until.ts';

const shipped = fileURLToPath(new URL('../../../config/runtime.yaml', import.meta.url));
const slos = '[{ name: ttft_p95, metric: ttft, threshold: 500, window_ms: 2000, severity: critical }]';
const policies = (remediations: string): string => `      - { id: p, name: P, enabled: true, priority: 1, slos: ${slos}, remediations: [${remediations}] }\n`;
const SHED = '{ type: shed_load, target: stream_registry, params: { percentage: 30 }, reason: too slow }';
const SCALE = '{ type: scale_up, target: governor, params: { delta: 8 }, reason: too slow }';
const ALERT = (channel: string): string => `{ type: alert, target: stream_registry, params: { channel: ${channel} }, reason: too slow }`;

describe('remediations of the qos service', () => {
  let redis: RedisProcess;
  let receiver: AlertReceiver;
  let hooks: string;
  let directory: string;
  let prefixes = 0;
  const stops: (() => Promise<unknown> | void)[] = [];
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.dispose());
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'qos-'));
    receiver = new AlertReceiver();
    hooks = await receiver.start();
    stops.push(() => receiver.stop());
    prefixes++;
  });
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await rm(directory, { recursive: true });
  });

  async function start(remediations: string, variables: Record<string, string> = {}): Promise<QosApp> {
    const text = (await readFile(shipped, 'utf8'))
      .replace('evaluation_interval_ms: 5000', 'evaluation_interval_ms: 40')
      .replace('cooldown_ms: 60000', 'cooldown_ms: 60000\n    recovery_ms: 100')
      .replace('lease_ttl_ms: 15000', 'lease_ttl_ms: 3000');
    const begin = text.indexOf('      - id: default_ttft_policy');
    const end = text.indexOf('# Admission');
    await writeFile(join(directory, 'runtime.yaml'), `${text.slice(0, begin)}${policies(remediations)}\n${text.slice(end)}`);
    const values = {
      MLX_SERVING_QOS_GRPC_PORT: '0',
      MLX_SERVING_QOS_OPERATIONS_PORT: '0',
      MLX_SERVING_CONFIG_DIR: directory,
      MLX_SERVING_WORKERS: '127.0.0.1:9',
      MLX_SERVING_FLAGS_ADDRESS: 'none',
      MLX_SERVING_CANARY_ADDRESS: 'none',
      MLX_SERVING_REPLICA_ID: 'qos-1',
      REDIS_URL: redis.url,
      MLX_SERVING_REDIS_PREFIX: `test-${prefixes}:`,
      MLX_SERVING_SLACK_WEBHOOK_URL: `${hooks}/slack`,
      MLX_SERVING_PAGERDUTY_URL: `${hooks}/pagerduty`,
      MLX_SERVING_PAGERDUTY_ROUTING_KEY: 'R'.repeat(32),
      MLX_SERVING_ALERT_WEBHOOK_URL: `${hooks}/webhook`,
      ...variables,
    };
    const app = await createApp(readEnvironment(environment, values), silentLogger);
    stops.push(() => app.stop());
    await app.start();
    return app;
  }

  function link(app: QosApp, replicaId = 'gateway-1'): FakeGateway {
    const gateway = new FakeGateway(app.ports.grpc, replicaId);
    stops.push(() => gateway.close());
    return gateway;
  }

  /** Reports so slow requests until `done`. */
  async function traffic<T>(gateway: FakeGateway, ttftMs: number, done: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
    return until(`what ${ttftMs} ms should bring`, () => {
      gateway.report(Array.from({ length: 20 }, () => ({ outcome: StreamOutcome.OK, ttftMs, durationMs: ttftMs, workerId: 'w:1', decision: { variant: 'baseline' } })));
      return done();
    }, 8_000);
  }

  it('shed load while the SLO is violated, say why, and stop when it has recovered', async () => {
    const gateway = link(await start(SHED));
    const lease = await traffic(gateway, 900, () => gateway.leases.find(({ directive }) => directive.case === 'shedLoad'));
    expect(lease).toMatchObject({ reason: 'p: too slow', directive: { value: { share: 0.3 } } });
    expect(lease.term).toBeGreaterThan(0n);
    expect(await gateway.client.getState({})).toMatchObject({ acting: true, remediations: [{ actuator: 'shed', value: 0.3, policy: 'p' }] });
    await traffic(gateway, 100, () => gateway.revoked.includes(lease.id));
    const { actions } = await gateway.client.listActions({});
    expect(actions.map(({ outcome, rule }) => `${outcome} ${rule}`)).toEqual(expect.arrayContaining(['executed slo_violated', 'undone recovered']));
    const { explanation } = await gateway.client.explainAction({ id: actions.at(-1)?.id ?? '' });
    expect(explanation.join('\n')).toMatch(/Policy p: ttft_p95 was 900 .*threshold 500[\s\S]*shed_load on shed, 0 → 0.3: executed[\s\S]*Rule slo_violated/);
    await expect(gateway.client.explainAction({ id: 'none' })).rejects.toMatchObject({ code: 5 });
  });

  it('scale up the limit of every gateway and the batch of every worker, and give both back', async () => {
    const worker = new FakeWorker('worker-1');
    const address = `127.0.0.1:${await worker.start()}`;
    stops.push(() => worker.stop());
    const app = await start(SCALE, { MLX_SERVING_WORKERS: address });
    const gateways = [link(app, 'gateway-1'), link(app, 'gateway-2')];
    const [first] = gateways as [FakeGateway];
    for (const gateway of gateways) await traffic(first, 900, () => gateway.leases.find(({ directive }) => directive.value === 72));
    await until('the larger batch', () => worker.batch === 9);
    for (const gateway of gateways) await traffic(first, 100, () => gateway.leases.at(-1)?.directive.value === 64);
    await until('the batch of before', () => worker.batch === 8);
  });

  it('are taken up after a restart, and undone then', async () => {
    const before = await start(SHED);
    const gateway = link(before);
    await traffic(gateway, 900, () => gateway.leases.find(({ directive }) => directive.case === 'shedLoad'));
    await until('the state to be kept', async () => (await gateway.client.getState({})).remediations.length === 1);
    gateway.close();
    await before.stop();
    const after = link(await start(SHED));
    await until('the same lease', () => after.leases.find(({ directive }) => directive.case === 'shedLoad'));
    const { remediations } = await after.client.getState({});
    expect(remediations).toHaveLength(1);
    await traffic(after, 100, () => after.revoked.length > 0);
  });

  it('are decided by one replica, and lent by the other to its own gateways', async () => {
    const acting = await start(SHED);
    const other = await start(SHED, { MLX_SERVING_REPLICA_ID: 'qos-2' });
    const [gateway, elsewhere] = [link(acting, 'gateway-1'), link(other, 'gateway-2')];
    await traffic(gateway, 900, () => elsewhere.leases.find(({ directive }) => directive.case === 'shedLoad'));
    expect((await gateway.client.getState({})).acting).toBe(true);
    expect((await elsewhere.client.getState({})).acting).toBe(false);
    gateway.close();
    await acting.stop();
    await until('the other to act', async () => (await elsewhere.client.getState({})).acting, 8_000);
  });

  it('alert Slack, PagerDuty and a webhook once, again until it is taken, and resolve on recovery', async () => {
    receiver.answers.push(500, 503);
    const gateway = link(await start(['slack', 'pagerduty', 'webhook'].map(ALERT).join(', ')));
    const of = (path: string) => receiver.received.filter((each) => each.path === path);
    await traffic(gateway, 900, () => of('/slack').length + of('/pagerduty').length + of('/webhook').length >= 5);
    await traffic(gateway, 100, () => receiver.received.length >= 8);
    const event = of('/pagerduty')[0]?.body;
    expect(event).toMatchObject({ routing_key: 'R'.repeat(32), event_action: 'trigger', dedup_key: expect.stringContaining('p/ttft_p95/pagerduty'), payload: { severity: 'critical', source: 'mlx-serving/qos', summary: expect.stringContaining('too slow: ttft is 900') } });
    expect(of('/pagerduty').at(-1)?.body).toEqual({ routing_key: 'R'.repeat(32), event_action: 'resolve', dedup_key: event?.['dedup_key'] });
    expect(of('/slack')[0]?.body['text']).toContain(':rotating_light: too slow');
    expect(of('/slack').at(-1)?.body['text']).toContain('Resolved');
    expect(of('/webhook').at(-1)?.body).toMatchObject({ event: 'resolve', policy: 'p', slo: 'ttft_p95' });
  });

  it('can be tried on what was recorded, and on a recording that is brought along', async () => {
    const gateway = link(await start(SHED));
    const requests = await traffic(gateway, 900, async () => {
      const { requests: recorded } = await gateway.client.getRecording({});
      return recorded.length >= 200 && Number(recorded.at(-1)?.atMs) - Number(recorded[0]?.atMs) > 300 && recorded;
    });
    const { policiesJson } = await gateway.client.listPolicies({});
    const draft = { ...(JSON.parse(policiesJson[0] ?? '{}') as object), id: 'draft', remediations: [{ type: 'scale_down', target: 'governor', params: { delta: 4 }, reason: 'try' }] };
    for (const brought of [[], requests]) {
      const replay = await gateway.client.replayPolicies({ policiesJson: [JSON.stringify(draft)], requests: brought });
      expect(replay.actions).toEqual(expect.arrayContaining([expect.objectContaining({ policy: 'draft', action: 'scale_down', outcome: 'executed', from: 64, to: 60 })]));
      expect(replay.slos).toMatchObject([{ policy: 'draft', value: 900 }]);
    }
    await expect(gateway.client.replayPolicies({ policiesJson: ['{"id":"x"}'] })).rejects.toMatchObject({ code: 3 });
    expect((await gateway.client.getState({})).remediations.map(({ policy }) => policy)).not.toContain('draft');
  });
});
