import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Canary, type CanaryControlRequest, type CanaryRolloutSchema } from '@mlx-serving/contracts';
import { GrpcServer, readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { type AdminApp, createApp } from '../src/app.ts';
import { environment } from '../src/config.ts';

/** As Argo Rollouts' and Flagger's documentation record them. */
const flaggerBody = { name: 'podinfo', namespace: 'test', phase: 'Progressing', checksum: '85d557f47b', metadata: { type: 'bash' } };

describe('the canary at the operators\' door', () => {
  let server: GrpcServer;
  let admin: AdminApp;
  let folder: string;
  let token: string;
  let asked: CanaryControlRequest[];
  let rollout: MessageInitShape<typeof CanaryRolloutSchema>;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'admin-'));
    server = new GrpcServer(silentLogger).add(Canary, {
      link: () => undefined,
      getState: async () => ({ rollout }),
      control: async (request) => ({ rollout, changed: asked.push(request) === 1, notes: [] }),
      plan: async ({ percentage }) => ({ requestsPerSecond: 2, stages: [{ percentage, requestsToPromote: 500n, secondsToPromote: 250 }] }),
    });
    const address = `127.0.0.1:${await server.start('127.0.0.1', 0)}`;
    const variables = { MLX_SERVING_CANARY_ADDRESS: address, MLX_SERVING_FLAGS_ADDRESS: address, MLX_SERVING_QOS_ADDRESS: address, MLX_SERVING_STATE_DIR: folder };
    admin = createApp(readEnvironment(environment, { ...variables, MLX_SERVING_ADMIN_HTTP_PORT: '0', MLX_SERVING_ADMIN_OPERATIONS_PORT: '0' }), silentLogger);
    await admin.start();
    token = readFileSync(join(folder, 'admin-token'), 'utf8').trim();
  });
  afterAll(async () => {
    await admin.stop();
    await server.stop(0);
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    asked = [];
    rollout = { phase: 'running', status: 'inconclusive', percentage: 10 };
  });

  async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const response = await fetch(`http://127.0.0.1:${admin.ports.http}/admin/canary/${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  it.each([
    ['deploy', { percentage: 5, stages: [{ percentage: 5, hold_ms: 10, gate: true }] }, { case: 'deploy', value: { percentage: 5, stages: [{ percentage: 5, holdMs: 10n, gate: true }] } }],
    ['promote', { full: true }, { case: 'promote', value: { full: true } }],
    ['rollback', { gradual: true }, { case: 'rollback', value: { gradual: true } }],
    ['pause', undefined, { case: 'pause' }],
    ['resume', undefined, { case: 'resume' }],
    ['abort', undefined, { case: 'abort' }],
    ['retry', { force: true }, { case: 'retry' }],
  ])('passes %s on, with who asked and the key', async (name, body, action) => {
    expect(await call('POST', name, body, { 'idempotency-key': 'k', 'x-actor': 'someone' })).toMatchObject({ status: 200, body: { success: true, changed: true, rollout: { percentage: 10 } } });
    expect(asked).toMatchObject([{ action, idempotencyKey: 'k', actor: 'someone (root)', force: name === 'retry' }]);
  });

  it('refuses what it does not know, and asks for nothing then', async () => {
    expect((await call('POST', 'deploy', { percent: 5 })).status).toBe(400);
    expect(asked).toEqual([]);
  });

  it('shows the rollout and the plan', async () => {
    expect((await call('GET', 'rollout')).body).toMatchObject({ phase: 'running', status: 'inconclusive' });
    expect((await call('POST', 'plan', { percentage: 25 })).body).toMatchObject({ requestsPerSecond: 2, stages: [{ percentage: 25, requestsToPromote: 500, secondsToPromote: 250 }] });
  });

  it('is a web metric for Argo Rollouts: ok, failed or inconclusive', async () => {
    expect((await call('GET', 'argo')).body).toEqual({ data: { ok: false, failed: false, inconclusive: true, status: 'inconclusive', progress: 0 } });
    rollout = { phase: 'running', status: 'healthy', judgement: { notWorse: true, safe: true, promotionProgress: 1 } };
    expect((await call('GET', 'argo')).body).toMatchObject({ data: { ok: true, failed: false, inconclusive: false, progress: 1 } });
    rollout = { phase: 'rolled_back', status: 'rolled_back' };
    expect((await call('GET', 'argo')).body).toMatchObject({ data: { ok: false, failed: true, inconclusive: false } });
  });

  it('is a webhook for Flagger: 2xx is yes', async () => {
    const answers = async () => Promise.all(['rollout', 'confirm-promotion', 'rollback'].map(async (kind) => (await call('POST', `flagger/${kind}`, flaggerBody)).status));
    expect(await answers()).toEqual([200, 409, 409]);
    rollout = { phase: 'running', status: 'healthy', judgement: { notWorse: true, safe: true } };
    expect(await answers()).toEqual([200, 200, 409]);
    rollout = { phase: 'rolled_back', status: 'rolled_back' };
    expect(await answers()).toEqual([409, 409, 200]);
  });

  it('tells other engines yes only when the controller itself would move on, and no for every trigger, also when it may not act', async () => {
    const answers = async () => {
      const { ok, failed } = (await call('GET', 'argo')).body['data'] as { ok: boolean; failed: boolean };
      return [ok, failed, ...(await Promise.all(['rollout', 'confirm-promotion', 'rollback'].map(async (kind) => (await call('POST', `flagger/${kind}`, flaggerBody)).status)))];
    };
    // A warning, a sample-ratio mismatch, a pause, or a controller that hears nothing.
    rollout = { phase: 'running', status: 'warning', judgement: { notWorse: true, safe: false, fired: [{ trigger: 'memory_leak', severity: 'warning' }] } };
    expect(await answers()).toEqual([false, false, 200, 409, 409]);
    for (const trigger of ['worker_gone', 'failed_at_once', 'worker_exits', 'blast_radius', 'crash_rate']) {
      rollout = { phase: 'running', status: 'inconclusive', judgement: { notWorse: true, safe: false, fired: [{ trigger, severity: 'critical' }] } };
      expect([trigger, ...(await answers())]).toEqual([trigger, false, true, 409, 409, 200]);
    }
  });

  it("takes the bodies that Flagger's and Argo Rollouts' own pages show", async () => {
    const { flagger, argo } = JSON.parse(readFileSync(new URL('./recorded/engines.json', import.meta.url), 'utf8')) as { flagger: Record<'webhook' | 'event', object>; argo: { jsonPath: string } };
    rollout = { phase: 'running', status: 'healthy', judgement: { notWorse: true, safe: true } };
    const yes = ['confirm-rollout', 'pre-rollout', 'rollout', 'confirm-traffic-increase', 'confirm-promotion', 'post-rollout'];
    for (const kind of yes) expect([kind, (await call('POST', `flagger/${kind}`, flagger.webhook)).status]).toEqual([kind, 200]);
    expect((await call('POST', 'flagger/event', flagger.event)).status).toBe(200);
    expect((await call('POST', 'flagger/rollback', flagger.webhook)).status).toBe(409);
    expect((await call('POST', 'flagger/rollout', { phase: 'Progressing' })).status).toBe(400);
    // `{$.data.ok}` is the way through the answer that the page asks for.
    const way = argo.jsonPath.replace(/[{}$]/g, '').split('.').filter(Boolean);
    expect(way.reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], (await call('GET', 'argo')).body)).toBe(true);
  });

  it('takes the token as a password, for callers that have only a URL', async () => {
    const authorization = `Basic ${Buffer.from(`flagger:${token}`).toString('base64')}`;
    expect((await call('GET', 'argo', undefined, { authorization })).status).toBe(200);
    expect((await call('GET', 'argo', undefined, { authorization: `Basic ${Buffer.from('flagger:wrong').toString('base64')}` })).status).toBe(401);
  });
});
