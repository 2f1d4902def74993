import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { StreamOutcome } from '@mlx-serving/contracts';
import { readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { AlertStandIn, FakeCanary, type RedisProcess, startRedis } from '@mlx-serving/testing';
import { createApp, type QosApp } from '../src/app.ts';
import { environment } from '../src/config.ts';
import { FakeGateway } from './fake-gateway.ts';
import { FakeWorker } from './fake-worker.ts';
import { until } from './until.ts';

const shipped = fileURLToPath(new URL('../../../config/runtime.yaml', import.meta.url));
const slos = '[{ name: ttft_p95, metric: ttft, threshold: 500, window_ms: 2000, severity: critical }]';
const policies = (remediations: string): string => `      - { id: p, name: P, enabled: true, priority: 1, slos: ${slos}, remediations: [${remediations}] }\n`;
const SHED = '{ type: shed_load, target: stream_registry, params: { percentage: 30 }, reason: too slow }';
const SCALE = '{ type: scale_up, target: governor, params: { delta: 8 }, reason: too slow }';
const CIRCUIT = (ms: number): string => `{ type: circuit_break, target: transport, params: { duration_ms: ${ms} }, reason: bad worker }`;
const ALERT = (channel: string): string => `{ type: alert, target: stream_registry, params: { channel: ${channel} }, reason: too slow }`;

/** The settings of the executor that the file has, or has not yet. */
function withExecutor(text: string, settings: Record<string, number>): string {
  return Object.entries(settings).reduce((changed, [name, value]) => {
    const there = new RegExp(`\\b${name}: \\d+`);
    return there.test(changed) ? changed.replace(there, `${name}: ${value}`) : changed.replace(/cooldown_ms: \d+/, `$&\n    ${name}: ${value}`);
  }, text);
}

describe('remediations of the qos service', () => {
  let redis: RedisProcess;
  let receiver: AlertStandIn;
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
    receiver = new AlertStandIn();
    hooks = await receiver.start();
    stops.push(() => receiver.stop());
    prefixes++;
  });
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await rm(directory, { recursive: true });
  });

  async function start(remediations: string, variables: Record<string, string> = {}, executor: Record<string, number> = {}): Promise<QosApp> {
    const text = withExecutor(await readFile(shipped, 'utf8'), { recovery_ms: 100, ...executor })
      .replace('evaluation_interval_ms: 5000', 'evaluation_interval_ms: 40')
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
      MLX_SERVING_PAGERDUTY_URL: `${hooks}/v2/enqueue`,
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

  it('are decided by what all gateways report, whichever replica they are linked to, each report once', async () => {
    const acting = await start(SHED);
    const other = await start(SHED, { MLX_SERVING_REPLICA_ID: 'qos-2' });
    const [gateway, elsewhere] = [link(acting, 'gateway-1'), link(other, 'gateway-2')];
    const slow = Array.from({ length: 20 }, () => ({ outcome: StreamOutcome.OK, ttftMs: 900, durationMs: 900, workerId: 'w:1', decision: { variant: 'baseline' } }));
    await until('the lease', () => {
      elsewhere.reportNumbered(slow);
      return gateway.leases.some(({ directive }) => directive.case === 'shedLoad');
    }, 8_000);
    const totals = (): Promise<bigint[]> => Promise.all([gateway, elsewhere].map(async ({ client }) => (await client.getState({})).reportsTotal));
    /** Reports keep their order: when this one is there, those before it are. */
    const arrived = async (from: FakeGateway, requestId: string): Promise<void> => {
      from.reportNumbered([{ outcome: StreamOutcome.OK, durationMs: 1, decision: { requestId, variant: 'baseline' } }], requestId === 'first' ? undefined : elsewhere.sent + 21n);
      for (const { client } of [gateway, elsewhere]) await until(requestId, async () => (await client.getState({})).recent.some(({ decision }) => decision?.requestId === requestId));
    };
    await arrived(elsewhere, 'first');
    const before = await totals();
    const again = elsewhere.reportNumbered(slow);
    const moved = link(acting, 'gateway-2');
    await until('what was sent', async () => (await totals()).every((total, at) => total === (before[at] as bigint) + 20n));
    moved.reportNumbered(slow, again);
    moved.reportNumbered(slow, again + 20n);
    await arrived(moved, 'last');
    expect((await totals()).map((total, at) => total - (before[at] as bigint))).toEqual([41n, 41n]);
    expect((await gateway.client.getState({})).duplicateReportsTotal).toBe(20n);
  });

  it('alert Slack, PagerDuty and a webhook once, in their own form, again until it is taken, and resolve on recovery', async () => {
    receiver.answers.push({ status: 500 }, { status: 503 });
    const gateway = link(await start(['slack', 'pagerduty', 'webhook'].map(ALERT).join(', ')));
    await traffic(gateway, 900, () => receiver.received.length >= 3);
    expect([...receiver.incidents.values()]).toEqual(['open']);
    await traffic(gateway, 100, () => receiver.received.length >= 6);
    const [trigger, resolve] = receiver.at('/v2/enqueue');
    expect(trigger).toMatchObject({ routing_key: 'R'.repeat(32), event_action: 'trigger', dedup_key: expect.stringContaining('p/ttft_p95/pagerduty'), payload: { severity: 'critical', source: 'mlx-serving/qos', summary: expect.stringContaining('too slow: ttft is 900') } });
    expect(resolve).toEqual({ routing_key: 'R'.repeat(32), event_action: 'resolve', dedup_key: trigger?.['dedup_key'] });
    expect([[...receiver.incidents.values()], receiver.problems]).toEqual([['resolved'], []]);
    expect(receiver.at('/slack').map(({ text }) => text)).toEqual([expect.stringContaining(':rotating_light: too slow'), expect.stringContaining('Resolved')]);
    expect(receiver.at('/webhook')).toMatchObject([{ event: 'trigger' }, { event: 'resolve', policy: 'p', slo: 'ttft_p95' }]);
  });

  it('alert after a restart when the receiver was away before it, and not a second time when it was not', async () => {
    receiver.answers.push(...Array.from({ length: 100 }, () => ({ status: 503 })));
    const before = await start(ALERT('pagerduty'));
    const gateway = link(before);
    await traffic(gateway, 900, () => receiver.answers.length < 100);
    gateway.close();
    await before.stop();
    receiver.answers.length = 0;
    const after = await start(ALERT('pagerduty'));
    const sent = async (): Promise<boolean> => (await (await fetch(`http://127.0.0.1:${after.ports.operations}/metrics`)).text()).includes('alerts_total{channel="pagerduty",outcome="sent"} 1');
    await until('the alert', sent);
    await after.stop();
    const again = link(await start(ALERT('pagerduty')));
    await traffic(again, 100, () => receiver.received.length >= 2);
    expect(receiver.at('/v2/enqueue').map((event) => event['event_action'])).toEqual(['trigger', 'resolve']);
  });

  it('freeze what goes in circles at its own setting, and alert every channel of it', async () => {
    const gateway = link(await start(SHED, {}, { cooldown_ms: 60, execution_window_ms: 60, max_executions_per_window: 100, recovery_ms: 60 }));
    const frozen = async (): Promise<boolean> => (await gateway.client.listActions({ limit: 500 })).actions.some(({ outcome }) => outcome === 'frozen');
    const sheds = async (): Promise<boolean> => (await gateway.client.getState({})).remediations.length > 0;
    for (let turn = 0; turn < 8 && !(await frozen()); turn++) {
      await traffic(gateway, 900, async () => (await sheds()) || (await frozen()));
      await traffic(gateway, 100, async () => !(await sheds()) || (await frozen()));
    }
    expect(await frozen()).toBe(true);
    await until('the alerts', () => receiver.received.length >= 3);
    expect(receiver.received.map(({ path }) => path).sort()).toEqual(['/slack', '/v2/enqueue', '/webhook']);
    expect(receiver.at('/v2/enqueue')).toMatchObject([{ payload: { severity: 'critical', class: 'loop', summary: expect.stringContaining('shed went in circles') } }]);
    await traffic(gateway, 900, async () => (await gateway.client.listActions({ limit: 500 })).actions.some(({ rule }) => rule === 'frozen'));
    expect([await sheds(), receiver.problems]).toEqual([false, []]);
  });

  it('open the circuit of the worker that is the cause, but not while a variant is judged', async () => {
    const canary = await new FakeCanary().start();
    stops.push(() => canary.kill());
    canary.table = { ...canary.table, enabled: true, rolloutPercentage: 10 };
    const workers = [new FakeWorker('w-1'), new FakeWorker('w-2')];
    const [slow = '', fast = ''] = await Promise.all(workers.map(async (worker) => `127.0.0.1:${await worker.start()}`));
    for (const worker of workers) stops.push(() => worker.stop());
    const gateway = link(await start(CIRCUIT(400), { MLX_SERVING_CANARY_ADDRESS: canary.address }));
    const mixed = <T>(slowMs: number, done: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> =>
      until('a circuit to change', () => {
        gateway.report([slow, fast].flatMap((workerId) => Array.from({ length: 15 }, () => ({ outcome: StreamOutcome.OK, ttftMs: workerId === slow ? slowMs : 50, durationMs: 60, workerId, decision: { variant: 'baseline' } }))));
        return done();
      }, 8_000);
    await mixed(900, async () => (await gateway.client.listActions({})).actions.some(({ rule }) => rule === 'canary_judged'));
    expect(gateway.leases.map(({ directive }) => directive.case)).not.toContain('openCircuit');
    canary.table = { ...canary.table, rolloutPercentage: 0 };
    const opened = await mixed(900, () => gateway.leases.find(({ directive }) => directive.case === 'openCircuit'));
    expect(opened.directive.value).toMatchObject({ workerId: slow, halfOpen: false });
    const half = await mixed(50, () => gateway.leases.find(({ directive }) => directive.case === 'openCircuit' && directive.value.halfOpen));
    await mixed(50, () => gateway.revoked.includes(half.id));
    expect((await gateway.client.listActions({})).actions.map(({ outcome, rule }) => `${outcome} ${rule}`)).toContain('undone trial_good');
  });

  it('stay under what the memory of the workers takes', async () => {
    const worker = new FakeWorker('worker-1');
    const address = `127.0.0.1:${await worker.start()}`;
    stops.push(() => worker.stop());
    worker.memoryLimitBytes = 1_000_000_000n;
    const gateway = link(await start(SCALE, { MLX_SERVING_WORKERS: address }));
    const limit = (): number | undefined => gateway.leases.findLast(({ directive }) => directive.case === 'concurrencyLimit')?.directive.value as number | undefined;
    await until('the ceiling', () => {
      worker.show(0, 100_000_000n);
      worker.show(4, 140_000_000n);
      return limit() === 64;
    });
    await until('a ceiling of twenty', () => {
      worker.show(0, 100_000_000n);
      worker.show(4, 260_000_000n);
      return limit() === 20;
    });
    await traffic(gateway, 900, async () => (await gateway.client.listActions({})).actions.some(({ rule }) => rule === 'at_bound'));
    expect(limit()).toBe(20);
  });

  it('run out, an open circuit too, when nothing is known of who acts any more', async () => {
    const server = await startRedis();
    const workers = [new FakeWorker('w-1'), new FakeWorker('w-2')];
    const [slow = '', fast = ''] = await Promise.all(workers.map(async (worker) => `127.0.0.1:${await worker.start()}`));
    for (const worker of workers) stops.push(() => worker.stop());
    const gateway = link(await start(CIRCUIT(6_000), { REDIS_URL: server.url }, { remediation_ttl_ms: 500 }));
    const circuit = (): string | undefined => gateway.leases.findLast(({ directive }) => directive.case === 'openCircuit')?.id;
    await until('a circuit', () => {
      gateway.report([slow, fast].flatMap((workerId) => Array.from({ length: 15 }, () => ({ outcome: StreamOutcome.OK, ttftMs: workerId === slow ? 900 : 50, durationMs: 60, workerId, decision: { variant: 'baseline' } }))));
      return circuit();
    }, 8_000);
    await server.dispose();
    await until('the circuit to end', () => gateway.revoked.includes(circuit() ?? ''), 15_000);
    expect((await gateway.client.getState({})).acting).toBe(false);
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
