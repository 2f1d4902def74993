import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Canary, createServiceClient, Flags, FlagsLinkRequestSchema, type FlagsLinkResponse, Qos, StreamOutcome } from '@mlx-serving/contracts';
import { createApp as createFlags, environment as flagsEnvironment, type FlagsApp } from '@mlx-serving/flags';
import { GrpcServer, readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { type AdminApp, createApp, environment } from '../src/index.ts';

const FILE = 'alpha: { enabled: true, rollout_percentage: 100, hash_seed: a }\n';

interface Answer {
  status: number;
  headers: Headers;
  body: any; // eslint-disable-line @typescript-eslint/no-explicit-any -- the JSON under test
}

const unused = async () => ({});
const unusedQos = { listPolicies: unused, listActions: unused, explainAction: unused, getRecording: unused, replayPolicies: unused };

describe('the admin service', () => {
  const folder = mkdtempSync(join(tmpdir(), 'admin-'));
  const states = new GrpcServer(silentLogger);
  let redis: RedisProcess;
  let flags: FlagsApp;
  let admin: AdminApp;
  let token: string;
  let closeLink: () => void;

  async function call(method: string, path: string, options: { body?: unknown; headers?: Record<string, string> } = {}): Promise<Answer> {
    const { body, headers } = options;
    const payload = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
    const answer = await fetch(`http://127.0.0.1:${admin.ports.http}${path}`, { method, headers: { authorization: `Bearer ${token}`, ...headers }, ...payload });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: JSON.parse(text) };
  }

  /** A gateway that acknowledges everything at once. */
  function linkGateway(address: string): Promise<() => void> {
    const client = createServiceClient(Flags, address);
    const stream = client.link();
    const send = (message: NonNullable<MessageInitShape<typeof FlagsLinkRequestSchema>['message']>): boolean => stream.write(create(FlagsLinkRequestSchema, { message }));
    stream.on('error', () => undefined);
    send({ case: 'hello', value: { replicaId: 'gateway-1', revision: 0n } });
    return new Promise((resolve) => {
      stream.on('data', ({ message }: FlagsLinkResponse) => {
        send({ case: 'acknowledgement', value: { revision: message.case === 'snapshot' || message.case === 'delta' ? message.value.revision : 0n } });
        resolve(() => {
          stream.cancel();
          client.close();
        });
      });
    });
  }

  beforeAll(async () => {
    writeFileSync(join(folder, 'feature-flags.yaml'), FILE);
    redis = await startRedis();
    const common = { MLX_SERVING_CONFIG_DIR: folder, MLX_SERVING_STATE_DIR: folder, REDIS_URL: redis.url };
    const flagsPorts = { MLX_SERVING_FLAGS_GRPC_PORT: '0', MLX_SERVING_FLAGS_OPERATIONS_PORT: '0' };
    flags = createFlags(readEnvironment(flagsEnvironment, { ...common, ...flagsPorts }), silentLogger);
    await flags.start();
    states.add(Qos, { ...unusedQos, link: () => undefined, getState: async () => ({ windowMs: 60_000, reportsTotal: 7n, recent: [{ outcome: StreamOutcome.FAILED, startedAtMs: 12n }] }) });
    states.add(Canary, { link: () => undefined, getState: async () => ({ routingTable: { revision: 3n, rolloutPercentage: 12.5 }, linkedGateways: ['gateway-1'] }), control: async () => ({}), plan: async () => ({}) });
    const statesAddress = `127.0.0.1:${await states.start('127.0.0.1', 0)}`;
    const addresses = { MLX_SERVING_FLAGS_ADDRESS: `127.0.0.1:${flags.ports.grpc}`, MLX_SERVING_QOS_ADDRESS: statesAddress, MLX_SERVING_CANARY_ADDRESS: statesAddress };
    const adminPorts = { MLX_SERVING_ADMIN_HTTP_PORT: '0', MLX_SERVING_ADMIN_OPERATIONS_PORT: '0' };
    admin = createApp(readEnvironment(environment, { ...common, ...addresses, ...adminPorts }), silentLogger);
    await admin.start();
    token = readFileSync(join(folder, 'admin-token'), 'utf8').trim();
    closeLink = await linkGateway(`127.0.0.1:${flags.ports.grpc}`);
  });

  afterAll(async () => {
    closeLink();
    await admin.stop();
    await flags.stop();
    await states.stop();
    await redis.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  beforeEach(async () => {
    while (!((await call('GET', '/admin/flags')).body.length > 0));
    await call('POST', '/admin/flags/alpha/revive');
    await call('POST', '/admin/flags/alpha', { body: { enabled: true, rolloutPercentage: 100 } });
  });

  it('answers nothing without the token, unknown paths included, and says how to send it', async () => {
    for (const authorization of ['', 'Bearer', `Basic ${token}`, `Bearer ${token}x`]) {
      for (const path of ['/admin/flags', '/admin/emergency', '/nowhere']) {
        const answer = await call('GET', path, { headers: { authorization } });
        expect([answer.status, answer.body.error.code]).toEqual([401, 'UNAUTHENTICATED']);
        expect(answer.headers.get('www-authenticate')).toBe('Bearer');
      }
    }
  });

  it('shows its health without the token', async () => {
    expect(await call('GET', '/health/live', { headers: { authorization: '' } })).toMatchObject({ status: 200, body: { status: 'live' } });
    expect(await call('GET', '/health/ready', { headers: { authorization: '' } })).toMatchObject({ status: 200, body: { checks: { flags: 'ok' } } });
  });

  it('lists flags as an array of name, definition and kill', async () => {
    const { body } = await call('GET', '/admin/flags');
    expect(body).toMatchObject([{ name: 'alpha', enabled: true, rolloutPercentage: 100, whitelist: [], blacklist: [], killSwitch: false, rules: [], killed: false, kill: null }]);
    expect(body[0].revision).toBeGreaterThan(0);
  });

  it('writes a definition, answers it with its propagation, and shows it', async () => {
    const body = { enabled: true, rolloutPercentage: 10, whitelist: ['user_123'], blacklist: [], killSwitch: false, rules: [{ attribute: 'plan', operator: 'equals', value: 'premium' }] };
    const answer = await call('POST', '/admin/flags/new_design', { body });
    expect(answer).toMatchObject({ status: 200, body: { success: true, message: 'Flag new_design updated.', flag: { name: 'new_design', ...body } } });
    expect(answer.body.propagation).toMatchObject({ revision: answer.body.flag.revision, acknowledged: [{ replica: 'gateway-1' }], missing: [] });
    expect((await call('GET', '/admin/flags/new_design')).body).toMatchObject(body);
  });

  it('stores nothing of what the answer adds to a definition that is sent back', async () => {
    const { body } = await call('GET', '/admin/flags/alpha');
    await call('POST', '/admin/flags/alpha/kill', { body: { reason: 'it burns' } });
    const killed = (await call('GET', '/admin/flags/alpha')).body;
    expect(killed).toMatchObject({ killed: true, kill: { actor: 'admin', reason: 'it burns' } });
    const answer = await call('POST', '/admin/flags/alpha', { body });
    expect(answer.body.message).toContain('still killed');
    expect(answer.body.flag).toMatchObject({ killed: true, killSwitch: false });
  });

  it('kills with and without a body, and answers with who has applied it', async () => {
    const empty = await call('POST', '/admin/flags/alpha/kill');
    expect(empty).toMatchObject({ status: 200, body: { success: true, message: 'Kill switch activated for alpha', acknowledged: [{ replica: 'gateway-1' }], missing: [] } });
    expect(empty.body.acknowledged[0].milliseconds).toBeGreaterThan(0);
    await call('POST', '/admin/flags/alpha/revive');
    expect((await call('POST', '/admin/flags/alpha/kill', { body: '', headers: { 'content-type': 'application/json' } })).status).toBe(200);
    expect((await call('POST', '/admin/flags/alpha/revive', { body: { reason: 'mended' }, headers: { 'x-actor': 'alice' } })).body.message).toBe('The kill of alpha is lifted');
    expect((await call('GET', '/admin/flags/alpha')).body.killed).toBe(false);
  });

  it.each([
    ['is not JSON', 'reason=burning', ''],
    ['says more than it should', '{"reason":"it burns","severity":1}', 'it burns'],
    ['has a reason that is too long', JSON.stringify({ reason: 'r'.repeat(2_000) }), 'r'.repeat(500)],
    ['has a reason that is no text', '{"reason":7}', ''],
    ['is null', 'null', ''],
    ['is longer than any that is read', JSON.stringify({ reason: 'r'.repeat(300_000) }), ''],
    ['is of a type that is none', '{"reason":"it burns"}', 'it burns', 'json'],
  ])('kills also when the body %s, and for whatever revision', async (_, body, reason, type = 'application/x-www-form-urlencoded') => {
    const killed = await call('POST', '/admin/flags/alpha/kill', { body, headers: { 'if-match': '"1"', 'content-type': type } });
    expect(killed).toMatchObject({ status: 200, body: { success: true } });
    expect((await call('GET', '/admin/flags/alpha')).body.kill.reason).toBe(reason);
  });

  it('says when a revived flag stays off because of its definition', async () => {
    await call('POST', '/admin/flags/alpha', { body: { enabled: true, killSwitch: true } });
    expect((await call('POST', '/admin/flags/alpha/revive')).body.message).toContain('stays off while its definition says killSwitch: true');
    await call('POST', '/admin/flags/alpha', { body: { enabled: true, killSwitch: false } });
    expect((await call('GET', '/admin/flags/alpha')).body.killed).toBe(false);
  });

  it('refuses a write whose If-Match is not the present revision with 412', async () => {
    const tag = (await call('GET', '/admin/flags/alpha')).headers.get('etag') ?? '';
    const first = await call('POST', '/admin/flags/alpha', { body: { enabled: false }, headers: { 'if-match': tag } });
    expect([first.status, first.headers.get('etag') === tag]).toEqual([200, false]);
    const late = await call('POST', '/admin/flags/alpha', { body: { enabled: true }, headers: { 'if-match': tag } });
    expect(late).toMatchObject({ status: 412, body: { error: { code: 'ABORTED', reason: 'REVISION_MISMATCH' } } });
    expect((await call('POST', '/admin/flags/alpha', { body: {}, headers: { 'if-match': 'soon' } })).status).toBe(400);
  });

  it('shows the decisions of a flag, and no share (the sample has NaN) when there are none', async () => {
    expect((await call('GET', '/admin/flags/alpha/metrics')).body).toEqual({ enabled: 0, disabled: 0, enabledPercent: null });
  });

  it('sets the emergency switches one by one', async () => {
    const on = await call('POST', '/admin/emergency', { body: { kill_switch: true, reason: 'all of it' } });
    expect(on).toMatchObject({ status: 200, body: { success: true, acknowledged: [{ replica: 'gateway-1' }], emergency: { kill_switch: true, rollback_to_baseline: false, reason: 'all of it' } } });
    await call('POST', '/admin/emergency', { body: { rollback_to_baseline: true } });
    expect((await call('GET', '/admin/emergency')).body).toMatchObject({ kill_switch: true, rollback_to_baseline: true, actor: 'admin' });
    await call('POST', '/admin/emergency', { body: { kill_switch: false, rollback_to_baseline: false } });
    const long = await call('POST', '/admin/emergency', { body: { kill_switch: true, reason: 'r'.repeat(2_000) }, headers: { 'content-type': 'json' } });
    expect(long).toMatchObject({ status: 200, body: { emergency: { kill_switch: true, reason: 'r'.repeat(500) } } });
    await call('POST', '/admin/emergency', { body: { kill_switch: false } });
    expect((await call('POST', '/admin/emergency', { body: {} })).status).toBe(400);
  });

  it('shows the states of the controllers with numbers as numbers', async () => {
    expect((await call('GET', '/admin/qos')).body).toMatchObject({ windowMs: 60_000, reportsTotal: 7, recent: [{ outcome: 'STREAM_OUTCOME_FAILED', startedAtMs: 12 }] });
    expect((await call('GET', '/admin/canary')).body).toMatchObject({ routingTable: { revision: 3, rolloutPercentage: 12.5 }, linkedGateways: ['gateway-1'] });
  });

  it.each([
    ['an unknown flag', 'POST', '/admin/flags/nowhere/kill', undefined, 404, 'FLAG_NOT_FOUND'],
    ['an unknown path', 'GET', '/admin/nowhere', undefined, 404, 'ROUTE_NOT_FOUND'],
    ['a percentage above 100', 'POST', '/admin/flags/alpha', { rolloutPercentage: 101 }, 400, 'FLAG_INVALID'],
    ['a body that is no object', 'POST', '/admin/flags/alpha', [1], 400, 'BODY_INVALID'],
    ['a body that is not JSON', 'POST', '/admin/flags/alpha', '{', 400, 'BODY_INVALID'],
    ['an unknown field of a revive', 'POST', '/admin/flags/alpha/revive', { why: 'so' }, 400, 'BODY_INVALID'],
    ['a body that is too large', 'POST', '/admin/flags/alpha', { x: 'y'.repeat(70_000) }, 413, 'BODY_TOO_LARGE'],
  ])('answers %s with a reason', async (_, method, path, body, status, reason) => {
    const answer = await call(method, path, { body });
    expect([answer.status, answer.body.error.reason]).toEqual([status, reason]);
    expect(Object.keys(answer.body.error as object)).toEqual(['code', 'reason', 'message']);
  });

  it('counts requests by route', async () => {
    const text = await (await fetch(`http://127.0.0.1:${admin.ports.operations}/metrics`)).text();
    expect(text).toMatch(/mlx_serving_admin_requests_total\{method="POST",route="\/admin\/flags\/:name\/kill",status="200"\} \d+/);
  });

  it('says which service cannot be reached, and is not ready', async () => {
    const values = readEnvironment(environment, {
      ...{ MLX_SERVING_STATE_DIR: folder, MLX_SERVING_ADMIN_HTTP_PORT: '0', MLX_SERVING_ADMIN_OPERATIONS_PORT: '0' },
      ...{ MLX_SERVING_FLAGS_ADDRESS: '127.0.0.1:1', MLX_SERVING_QOS_ADDRESS: '127.0.0.1:1', MLX_SERVING_CANARY_ADDRESS: '127.0.0.1:1' },
    });
    const lonely = createApp(values, silentLogger);
    await lonely.start();
    const get = async (path: string) => fetch(`http://127.0.0.1:${lonely.ports.http}${path}`, { headers: { authorization: `Bearer ${token}` } });
    const answer = await get('/admin/flags');
    expect([answer.status, await answer.json()]).toEqual([503, { error: { code: 'UNAVAILABLE', reason: 'SERVICE_UNREACHABLE', message: expect.stringContaining('flags') } }]);
    expect((await get('/health/ready')).status).toBe(503);
    await lonely.stop();
  });
});
