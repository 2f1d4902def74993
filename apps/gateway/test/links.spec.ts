import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { rm } from 'node:fs/promises';
import { StreamOutcome } from '@mlx-serving/contracts';
import { FakeWorker, until } from '@mlx-serving/testing';
import { Harness, on } from './gateway-harness.ts';

let gateway: Harness;
const canaryWorker = (): FakeWorker => new FakeWorker({ script: ['canary'] });

beforeEach(async () => {
  gateway = await new Harness({ worker: new FakeWorker({ script: ['ok'] }), canaryWorkers: [canaryWorker()] }).start();
});
afterEach(() => gateway.stop());

const flag = (name: string, revision: bigint, definition: object = on) => ({ name, definitionJson: JSON.stringify(definition), revision });
const isOn = async (name: string): Promise<boolean> => ((await (await gateway.get(`/api/flags/${name}?user=u`)).json()) as { enabled: boolean }).enabled;
const acknowledged = (revision: bigint) => gateway.flags.until(() => gateway.flags.all('acknowledgement').some((one) => one.revision === revision));
const variantOf = async (user = 'u'): Promise<string | null> => (await gateway.chat({ user })).headers.get('x-mlx-serving-variant');

describe('the flags link', () => {
  it('acknowledges the first snapshot and each delta once it holds', async () => {
    await acknowledged(12n);
    gateway.flags.send({ case: 'delta', value: { baseRevision: 12n, revision: 13n, changed: [flag('new', 13n)], removed: ['warm'] } });
    await acknowledged(13n);
    expect([await isOn('new'), await isOn('warm')]).toEqual([true, false]);
    expect((await gateway.chat()).headers.get('x-mlx-serving-revision')).toBe('flags=13, routing=1');
  });

  it('asks for everything when a delta does not follow, and changes nothing until it has come', async () => {
    gateway.flags.send({ case: 'delta', value: { baseRevision: 20n, revision: 21n, changed: [flag('later', 21n)] } });
    await gateway.flags.until(() => gateway.flags.all('resync').length === 1);
    expect([await isOn('later'), await isOn('warm')]).toEqual([false, true]);
    gateway.flags.send({ case: 'snapshot', value: gateway.flags.hold(21n, { later: on }).snapshot });
    await acknowledged(21n);
    expect([await isOn('later'), await isOn('warm')]).toEqual([true, false]);
  });

  it('obeys a kill, also when the definition says otherwise', async () => {
    gateway.flags.send({ case: 'delta', value: { baseRevision: 12n, revision: 13n, changed: [{ ...flag('warm', 13n), kill: { actor: 'a', reason: 'r', atMs: 1n } }] } });
    await acknowledged(13n);
    expect(await isOn('warm')).toBe(false);
  });

  it('ends the streams that run under a flag whose kill says so, and no others (F19)', async () => {
    gateway.worker.script = undefined;
    const running = gateway.chat({ stream: true });
    (await gateway.worker.generation(0)).accept().tokens('one');
    const warm = flag('warm', 13n, { ...on, abortInFlight: true });
    gateway.flags.send({ case: 'delta', value: { baseRevision: 12n, revision: 13n, changed: [warm] } });
    gateway.flags.send({ case: 'delta', value: { baseRevision: 13n, revision: 14n, changed: [{ ...warm, kill: { actor: 'a', reason: 'r', atMs: 1n } }] } });
    expect(await (await running).text()).toContain('feature_killed');
    await until(() => gateway.worker.generations[0]?.cancelled === true);
  });

  it('reports requests that a watched flag has split, each with the key that was split, whatever the canary hashes', async () => {
    gateway.canary.route({ revision: 2n, enabled: true, rolloutPercentage: 50, hashKey: 'request_id' });
    await gateway.canary.until(() => gateway.canary.all('acknowledgement').some((one) => one.revision === 2n));
    gateway.flags.send({ case: 'watchedFlags', value: { flags: ['half'] } });
    gateway.flags.send({ case: 'delta', value: { baseRevision: 12n, revision: 13n, changed: [flag('half', 13n, { ...on, rolloutPercentage: 50 })] } });
    await acknowledged(13n);
    for (const user of ['a', 'a', 'b']) await gateway.chat({ user });
    const reports = () => gateway.flags.all('watchedReports').flatMap((batch) => batch.reports);
    await gateway.flags.until(() => reports().length === 3);
    const [first, again, other] = reports();
    expect(first?.flagKeyHash).toMatch(/^[0-9a-f]{16}$/);
    expect([again?.flagKeyHash === first?.flagKeyHash, other?.flagKeyHash === first?.flagKeyHash]).toEqual([true, false]);
    expect(again?.decision?.routingKeyHash).not.toBe(first?.decision?.routingKeyHash);
    // Of the other flags, of which there may be thousands, nothing.
    expect([first, again, other].map((report) => Object.keys(report?.decision?.flagReasons ?? {}))).toEqual([['half'], ['half'], ['half']]);
  });

  it('sends the counts of decisions up', async () => {
    await gateway.chat();
    await gateway.chat();
    await gateway.flags.until(() => gateway.flags.all('decisionCounts').length > 0);
    const counts = gateway.flags.all('decisionCounts').flatMap((message) => message.counts);
    const sum = (name: string, field: 'enabled' | 'disabled') => counts.filter((count) => count.flag === name).reduce((total, count) => total + count[field], 0n);
    await until(() => sum('warm', 'enabled') === 2n && sum('off', 'disabled') === 2n);
  });

  it('decides from the kept snapshot when it starts while the flag service is down', async () => {
    await gateway.app.stop();
    await gateway.flags.kill();
    await gateway.canary.kill();
    await gateway.startApp();
    await until(async () => (await gateway.get('/health/ready')).status === 200);
    expect(await isOn('warm')).toBe(true);
    expect((await gateway.chat()).headers.get('x-mlx-serving-revision')).toBe('flags=12, routing=1');
    expect(await (await gateway.get('/health/ready')).json()).toMatchObject({ links: { flags: 'down', qos: 'up', canary: 'down' }, flagsRevision: 12, flagsAgeMs: expect.any(Number) });
    await gateway.flags.hold(14n, {}).start();
    await acknowledged(14n);
    expect(gateway.flags.all('hello').at(-1)).toMatchObject({ replicaId: 'gateway-test', revision: 12n });
  });

  it('is not ready, and has every flag off, before any snapshot', async () => {
    const alone = new Harness({ worker: new FakeWorker({ script: ['ok'] }) });
    alone.flags.hold(1n, { warm: on });
    await alone.start();
    await alone.app.stop();
    await alone.flags.kill();
    await rm(`${alone.directory}/snapshots`, { recursive: true });
    await alone.startApp();
    const response = await alone.get('/health/ready');
    expect([response.status, await response.json()]).toEqual([503, expect.objectContaining({ checks: expect.objectContaining({ flags: 'no flag snapshot yet' }) })]);
    expect(await (await alone.get('/api/flags/warm?user=u')).json()).toEqual({ enabled: false });
    await alone.stop();
  });
});

describe('the canary link', () => {
  it('acknowledges routing tables and follows them', async () => {
    expect(await variantOf()).toBe('baseline');
    gateway.canary.route({ revision: 2n, enabled: true, rolloutPercentage: 100 });
    await gateway.canary.until(() => gateway.canary.all('acknowledgement').some(({ revision }) => revision === 2n));
    expect(await variantOf()).toBe('canary');
    await gateway.setup.canaryWorkers?.[0]?.kill();
    await until(async () => (await variantOf()) === 'baseline');
    // Reports go up in batches: that of the last request may be a batch behind.
    const decisions = async () => (await gateway.reports(2)).map(({ decision }) => `${decision?.variant} ${decision?.variantReason}`);
    await until(async () => (await decisions()).includes('baseline NO_CANARY_WORKER'));
  });

  it('sends everything to the baseline when the emergency switch says so', async () => {
    gateway.canary.route({ revision: 2n, enabled: true, rolloutPercentage: 100 });
    await until(async () => (await variantOf()) === 'canary');
    gateway.flags.send({ case: 'delta', value: { baseRevision: 12n, revision: 13n, emergency: { rollbackToBaseline: true } } });
    await acknowledged(13n);
    expect([await variantOf(), await isOn('warm')]).toEqual(['baseline', true]);
  });

  it('shows the comparison at /health/canary, in the shape that is promised', async () => {
    const shown = async () => (await gateway.get('/health/canary')).json();
    expect(await shown()).toEqual({
      canary: {
        enabled: false,
        percentage: 0,
        requests: { baseline: 0, canary: 0 },
        metrics: { baseline: { p95Latency: 0, errorRate: 0 }, canary: { p95Latency: 0, errorRate: 0 } },
        status: 'disabled',
      },
    });
    gateway.canary.route({ revision: 2n, enabled: true, rolloutPercentage: 10 });
    gateway.canary.send({ case: 'comparison', value: { baseline: { requests: 90n, errors: 1n, errorRate: 0.01, latencyP95Ms: 12.5 }, canary: { requests: 10n }, status: 'healthy' } });
    await until(async () => ((await shown()) as { canary: { status: string } }).canary.status === 'healthy');
    expect(await shown()).toEqual({
      canary: {
        enabled: true,
        percentage: 10,
        requests: { baseline: 90, canary: 10 },
        metrics: { baseline: { p95Latency: 12.5, errorRate: 0.01 }, canary: { p95Latency: 0, errorRate: 0 } },
        status: 'healthy',
      },
    });
  });
});

describe('reports', () => {
  it('go to qos and to canary with the decision, the worker, the times and the usage', async () => {
    await gateway.chat({ user: 'ada' }, { headers: { 'x-request-id': 'r-9' } });
    const [report] = await gateway.reports(1);
    expect(report).toMatchObject({
      decision: {
        requestId: 'r-9',
        variant: 'baseline',
        variantReason: 'CANARY_DISABLED',
        enabledFlags: ['warm'],
        flagReasons: { off: 'DISABLED' },
        flagsRevision: 12n,
        routingRevision: 1n,
        routingKeyHash: expect.stringMatching(/^[0-9a-f]{16}$/),
      },
      gatewayId: 'gateway-test',
      workerId: gateway.worker.address,
      model: 'fake',
      outcome: StreamOutcome.OK,
      errorReason: '',
      usage: { promptTokens: 7, completionTokens: 1 },
    });
    expect(report?.durationMs).toBeGreaterThanOrEqual(report?.ttftMs ?? Infinity);
    await gateway.canary.until(() => gateway.canary.all('reports').some((batch) => batch.reports[0]?.decision?.requestId === 'r-9'));
  });

  it('wait while the link is down and go up when it is back', async () => {
    await gateway.qos.kill();
    await gateway.chat({}, { headers: { 'x-request-id': 'kept' } });
    await gateway.qos.start();
    expect((await gateway.reports(1)).map((report) => report.decision?.requestId)).toContain('kept');
  });
});
