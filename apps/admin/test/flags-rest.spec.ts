/* eslint-disable @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return -- bodies are the JSON under test */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createApp as createFlags, environment as flagsEnvironment, type FlagsApp } from '@mlx-serving/flags';
import { createRedis, readEnvironment, silentLogger } from '@mlx-serving/service-kit';
import { type RedisProcess, startRedis } from '@mlx-serving/testing';
import { type AdminApp, createApp, environment } from '../src/index.ts';

const FILE = 'alpha: { enabled: true, rollout_percentage: 100, hash_seed: a }\nbeta: { enabled: true, rollout_percentage: 10, hash_seed: b, requires: [alpha] }\n';

interface Answer {
  status: number;
  headers: Headers;
  text: string;
  body: any; // eslint-disable-line @typescript-eslint/no-explicit-any -- the JSON under test
}

/** Admin REST before a flag service that really runs, on a Redis of its own. */
class Door {
  readonly folder = mkdtempSync(join(tmpdir(), 'admin-flags-'));
  redis!: RedisProcess;
  flags!: FlagsApp;
  admin!: AdminApp;
  token = '';

  async start(settings: Record<string, string> = {}): Promise<this> {
    writeFileSync(join(this.folder, 'feature-flags.yaml'), FILE);
    this.redis = await startRedis();
    const common = { MLX_SERVING_CONFIG_DIR: this.folder, MLX_SERVING_STATE_DIR: this.folder, REDIS_URL: this.redis.url, ...settings };
    const timing = { MLX_SERVING_FLAGS_REFRESH_MS: '100', MLX_SERVING_FLAGS_REVISION_CHECK_MS: '50', MLX_SERVING_FLAGS_ROLLOUT_TICK_MS: '20' };
    this.flags = createFlags(readEnvironment(flagsEnvironment, { ...common, ...timing, MLX_SERVING_FLAGS_GRPC_PORT: '0', MLX_SERVING_FLAGS_OPERATIONS_PORT: '0' }), silentLogger);
    await this.flags.start();
    const ports = { MLX_SERVING_FLAGS_ADDRESS: `127.0.0.1:${this.flags.ports.grpc}`, MLX_SERVING_ADMIN_HTTP_PORT: '0', MLX_SERVING_ADMIN_OPERATIONS_PORT: '0' };
    this.admin = createApp(readEnvironment(environment, { ...common, ...ports }), silentLogger);
    await this.admin.start();
    this.token = readFileSync(join(this.folder, 'admin-token'), 'utf8').trim();
    while ((await this.call('GET', '/admin/flags')).body.length !== 2);
    return this;
  }

  async call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const payload = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
    const answer = await fetch(`http://127.0.0.1:${this.admin.ports.http}${path}`, { method, headers: { authorization: `Bearer ${this.token}`, ...headers }, ...payload });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, text, body: /^application\/json\b/.test(answer.headers.get('content-type') ?? '') ? JSON.parse(text) : undefined };
  }

  /** A token of a role, as the header that carries it. */
  async as(name: string, role: string): Promise<Record<string, string>> {
    const { body } = await this.call('POST', '/admin/tokens', { name, role });
    return { authorization: `Bearer ${body.secret}` };
  }

  async stop(): Promise<void> {
    await this.admin.stop();
    await this.flags.stop();
    await this.redis.dispose();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

let door: Door;
afterEach(() => door.stop());

describe('flags over REST', () => {
  beforeEach(async () => {
    door = await new Door().start();
  });

  it('F22: shows, searches, exports and verifies the audit trail, with who, what, when, why, before and after', async () => {
    await door.call('POST', '/admin/flags/alpha?reason=a+test', { enabled: true, rolloutPercentage: 50 }, { 'x-actor': 'alice' });
    await door.call('PATCH', '/admin/flags/alpha', { rolloutPercentage: 60 }, { 'x-actor': 'bob', 'x-reason': 'more of it' });
    await door.call('POST', '/admin/flags/alpha/kill', { reason: 'it burns' });
    const { body } = await door.call('GET', '/admin/audit?flag=alpha&limit=3');
    expect(body.entries).toMatchObject([
      { action: 'kill', actor: 'admin', reason: 'it burns', before: null, after: { reason: 'it burns' } },
      { action: 'patch', actor: 'bob (root)', reason: 'more of it', before: { rolloutPercentage: 50 }, after: { rolloutPercentage: 60 } },
      { action: 'set', actor: 'alice (root)', reason: 'a test', before: { rolloutPercentage: 100 }, after: { rolloutPercentage: 50 } },
    ]);
    expect(body.entries[0].previous_hash).toBe(body.entries[1].hash);
    expect((await door.call('GET', '/admin/audit?text=MORE')).body.entries).toHaveLength(1);
    expect((await door.call('GET', '/admin/audit?actor=alice%20(root)&until=2020-01-01')).body.entries).toHaveLength(0);
    expect((await door.call('GET', `/admin/audit?before_revision=${body.next_before_revision}`)).body.entries[0].action).toBe('file');
    const lines = (await door.call('GET', '/admin/audit?format=jsonl')).text.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).action)).toEqual(['kill', 'patch', 'set', 'file', 'file']);
    expect((await door.call('GET', '/admin/audit/verify')).body).toMatchObject({ intact: true, entries: 5, problems: [] });
  });

  it('F22: travels in time: a flag at a revision, what it answered then, what changed since, and back again', async () => {
    const then = (await door.call('GET', '/admin/flags/alpha')).body.revision;
    await door.call('POST', '/admin/flags/alpha', { enabled: true, blacklist: ['user_1'] });
    await door.call('POST', '/admin/flags/alpha/kill');
    expect((await door.call('GET', `/admin/flags/alpha?revision=${then}&key=user_1`)).body).toMatchObject({ blacklist: [], killed: false, evaluation: { enabled: true, reason: 'ROLLED_OUT' } });
    expect((await door.call('GET', `/admin/flags/alpha?revision=${then + 100}&key=user_1`)).body).toMatchObject({ blacklist: ['user_1'], killed: true, evaluation: { enabled: false, reason: 'KILLED' } });
    expect((await door.call('GET', `/admin/flags/alpha?at=${new Date().toISOString()}`)).body.killed).toBe(true);
    expect((await door.call('GET', '/admin/flags/alpha?at=2020-01-01')).status).toBe(404);
    expect((await door.call('GET', `/admin/diff?from=${then}`)).body.flags).toMatchObject([{ name: 'alpha', before: { blacklist: [], killed: false }, after: { blacklist: ['user_1'], killed: true } }, { name: 'beta', before: null }]);
    expect((await door.call('GET', '/admin/flags/alpha/history')).body.entries.map(({ action }: { action: string }) => action)).toEqual(['kill', 'set', 'file']);
    const reverted = await door.call('POST', '/admin/flags/alpha/revert', { revision: then });
    expect(reverted.body.flag).toMatchObject({ blacklist: [], killed: true });
  });

  it('F18: patches and deletes a flag, and keeps its kill should it come back', async () => {
    await door.call('POST', '/admin/flags/gamma', { enabled: true, whitelist: ['user_1'], owner: 'search' });
    const { body } = await door.call('PATCH', '/admin/flags/gamma', { rolloutPercentage: 5, owner: null });
    expect(body.flag).toMatchObject({ enabled: true, whitelist: ['user_1'], rolloutPercentage: 5 });
    expect(body.flag.owner).toBeUndefined();
    expect((await door.call('PATCH', '/admin/flags/gamma', { rolloutPercentage: 500 })).status).toBe(400);
    expect((await door.call('PATCH', '/admin/flags/gamma', {}, { 'if-match': '"1"' })).status).toBe(412);
    await door.call('POST', '/admin/flags/gamma/kill');
    expect((await door.call('DELETE', '/admin/flags/alpha')).body.error.reason).toBe('FLAG_IN_USE');
    expect((await door.call('DELETE', '/admin/flags/gamma')).body).toMatchObject({ success: true, propagation: { missing: [] } });
    expect((await door.call('GET', '/admin/flags/gamma')).status).toBe(404);
    expect((await door.call('POST', '/admin/flags/gamma', { enabled: true, killSwitch: false })).body.flag.killed).toBe(true);
  });

  it('F6: holds segments, which a flag must name rightly, and which stay while a flag uses them', async () => {
    expect((await door.call('POST', '/admin/flags/gamma', { enabled: true, segments: ['staff'] })).body.error.message).toContain('no segment staff');
    expect((await door.call('POST', '/admin/segments/staff', { includedKeys: ['user_1'] })).body).toMatchObject({ success: true, segment: { name: 'staff', includedKeys: ['user_1'], rules: [] } });
    await door.call('POST', '/admin/flags/gamma', { enabled: true, segments: ['staff'] });
    expect((await door.call('GET', '/admin/segments')).body).toMatchObject([{ name: 'staff' }]);
    expect((await door.call('DELETE', '/admin/segments/staff')).status).toBe(409);
    await door.call('DELETE', '/admin/flags/gamma');
    expect((await door.call('DELETE', '/admin/segments/staff')).status).toBe(200);
    expect((await door.call('POST', '/admin/segments/bad', { includedKeys: 'user_1' })).status).toBe(400);
  });

  it('F18: loses no update of a segment: a write names the revision that it was built on', async () => {
    expect((await door.call('POST', '/admin/segments/staff', { includedKeys: ['ada'] }, { 'if-match': '"0"' })).headers.get('etag')).toMatch(/^"\d+"$/);
    const read = (await door.call('GET', '/admin/segments/staff')).headers.get('etag')!;
    const write = async (user: string) => (await door.call('POST', '/admin/segments/staff', { includedKeys: ['ada', user] }, { 'if-match': read })).status;
    expect([await write('bob'), await write('eve'), (await door.call('DELETE', '/admin/segments/staff', undefined, { 'if-match': read })).status]).toEqual([200, 412, 412]);
    expect((await door.call('GET', '/admin/segments/staff')).body.includedKeys).toEqual(['ada', 'bob']);
  });

  it('F18: exports flags and segments as JSON and YAML, and imports them without clearing a kill', async () => {
    await door.call('POST', '/admin/segments/staff', { includedKeys: ['user_1'] });
    await door.call('POST', '/admin/flags/gamma', { enabled: true, segments: ['staff'], environments: { production: { rolloutPercentage: 1 } } });
    const yaml = (await door.call('GET', '/admin/export?format=yaml')).text;
    await door.call('DELETE', '/admin/flags/gamma');
    await door.call('DELETE', '/admin/segments/staff');
    await door.call('POST', '/admin/flags/alpha/kill');
    const type = { 'content-type': 'application/yaml' };
    const dry = await door.call('POST', '/admin/import?dry_run=true', yaml, type);
    expect(dry.body.results).toEqual([
      { name: 'segment:staff', outcome: 'created', problem: '' },
      { name: 'alpha', outcome: 'unchanged', problem: '' },
      { name: 'beta', outcome: 'unchanged', problem: '' },
      { name: 'gamma', outcome: 'created', problem: '' },
    ]);
    expect((await door.call('GET', '/admin/flags/gamma')).status).toBe(404);
    expect((await door.call('POST', '/admin/import', yaml, type)).body).toMatchObject({ success: true });
    expect((await door.call('GET', '/admin/flags/gamma')).body).toMatchObject({ segments: ['staff'], environments: { production: { rolloutPercentage: 1 } } });
    expect((await door.call('GET', '/admin/flags/alpha')).body.killed).toBe(true);
    const bad = await door.call('POST', '/admin/import', { flags: { delta: { rolloutPercentage: -1 } } });
    expect(bad.body).toMatchObject({ success: false, results: [{ name: 'delta', outcome: 'failed' }] });
  });

  it('F23: takes every token and shows every pending change though another tool has written some that cannot be read', async () => {
    const operator = await door.as('olga', 'operator');
    const redis = createRedis(door.redis.url, silentLogger, 'other-tool');
    await redis.connect();
    await door.call('POST', '/admin/segments/staff', { includedKeys: ['ada'] });
    await redis.hset('feature_flags:segments', 'staff', '{"includedKeys":7}');
    for (const kind of ['tokens', 'pending', 'rollouts', 'api-keys', 'segments']) await redis.hset(`feature_flags:${kind}`, 'broken', '{"name":');
    redis.disconnect();
    for (const kind of ['tokens', 'pending', 'rollouts', 'api-keys', 'segments']) while ((await door.call('GET', `/admin/audit?action=${kind}.external`)).body.entries.length === 0);
    expect((await door.call('POST', '/admin/flags/alpha/kill', undefined, operator)).status).toBe(200);
    const lists = await Promise.all(['tokens', 'pending', 'rollouts', 'keys', 'segments'].map((path) => door.call('GET', `/admin/${path}`)));
    expect(lists.map(({ status, text }) => [status, text.includes('broken')])).toEqual(lists.map(() => [200, false]));
    expect((await door.call('GET', '/admin/segments')).body).toMatchObject([{ name: 'staff', includedKeys: ['ada'] }]);
    const health = await fetch(`http://127.0.0.1:${door.flags.ports.operations}/health/ready`);
    expect(Object.keys(((await health.json()) as { undecodable: object }).undecodable).sort()).toEqual(['segment:broken', 'segment:staff']);
  });

  it('F23: gives roles to tokens, keeps only their hashes, and takes a revoked one no more', async () => {
    const [viewer, operator, admin] = [await door.as('vera', 'viewer'), await door.as('olga', 'operator'), await door.as('anna', 'admin')];
    expect((await door.call('GET', '/admin/flags', undefined, viewer)).status).toBe(200);
    expect((await door.call('POST', '/admin/flags/alpha/kill', undefined, viewer)).body.error.reason).toBe('ROLE_MISSING');
    expect((await door.call('POST', '/admin/flags/alpha/kill', undefined, { ...operator, 'x-actor': 'somebody' })).status).toBe(200);
    expect((await door.call('GET', '/admin/flags/alpha')).body.kill.actor).toBe('olga');
    expect((await door.call('DELETE', '/admin/flags/beta', undefined, operator)).status).toBe(403);
    expect((await door.call('GET', '/admin/tokens', undefined, operator)).status).toBe(403);
    expect((await door.call('DELETE', '/admin/flags/beta', undefined, admin)).status).toBe(200);
    const tokens = (await door.call('GET', '/admin/tokens')).body as { id: string; name: string }[];
    expect(tokens.map(({ name }) => name).sort()).toEqual(['anna', 'olga', 'vera']);
    const redis = createRedis(door.redis.url, silentLogger, 'test');
    await redis.connect();
    const stored = JSON.stringify([await redis.hgetall('feature_flags:tokens'), await redis.xrange('feature_flags:audit', '-', '+')]);
    redis.disconnect();
    expect(stored).not.toContain(viewer['authorization']!.slice('Bearer mls_'.length + 13));
    await door.call('DELETE', `/admin/tokens/${tokens.find(({ name }) => name === 'vera')?.id}`);
    expect((await door.call('GET', '/admin/flags', undefined, viewer)).status).toBe(401);
    expect((await door.call('POST', '/admin/tokens', { name: 'x', role: 'god' })).status).toBe(400);
    await door.redis.stop();
    expect((await door.call('POST', '/admin/flags/alpha/kill', undefined, operator)).body).toMatchObject({ success: true, durable: false });
  });

  it('F24: takes a flag from stage to stage, changes the percentage alone, and stops when it is killed', async () => {
    await door.call('POST', '/admin/flags/gamma', { enabled: true, rolloutPercentage: 0, blacklist: ['user_1'] });
    const started = await door.call('POST', '/admin/flags/gamma/rollout', { stages: [{ percentage: 1, wait_ms: 0 }, { percentage: 10, wait_ms: 0 }, { percentage: 50, wait_ms: 3_600_000 }] });
    expect(started.body).toMatchObject({ success: true, rollout: { state: 'running' } });
    const rollout = async () => (await door.call('GET', '/admin/rollouts')).body[0];
    while ((await rollout()).stage !== 2);
    expect((await door.call('GET', '/admin/flags/gamma')).body).toMatchObject({ rolloutPercentage: 50, blacklist: ['user_1'] });
    expect((await door.call('GET', '/admin/flags/gamma/history')).body.entries.filter(({ action }: { action: string }) => action === 'rollout')).toHaveLength(3);
    expect((await door.call('POST', '/admin/flags/gamma/rollout/pause')).body.rollout.state).toBe('paused');
    expect((await door.call('POST', '/admin/flags/gamma/rollout/pause')).status).toBe(409);
    expect((await door.call('POST', '/admin/flags/gamma/rollout/resume')).body.rollout.state).toBe('running');
    await door.call('POST', '/admin/flags/gamma/kill');
    while ((await rollout()).state !== 'stopped');
    expect(await rollout()).toMatchObject({ note: 'The flag was killed.' });
    expect((await door.call('POST', '/admin/flags/gamma/rollout/abort')).body.rollout.state).toBe('aborted');
    expect((await door.call('GET', '/admin/flags/gamma')).body).toMatchObject({ rolloutPercentage: 0, killed: true });
    expect((await door.call('POST', '/admin/flags/alpha/rollout', { preset: 'nothing' })).status).toBe(400);
    expect((await door.call('POST', '/admin/flags/alpha/rollout', { preset: 'seeds' })).body.rollout.stages.map(({ percentage }: { percentage: number }) => percentage)).toEqual([1, 10, 50, 100]);
  });

  it('F25: reports flags that were never evaluated', async () => {
    while ((await door.call('GET', '/admin/stale-flags?stable_ms=1')).body.length < 2);
    expect((await door.call('GET', '/admin/stale-flags?stable_ms=1')).body).toMatchObject([{ name: 'alpha', why: 'never-evaluated', decisions: 0 }, { name: 'beta' }]);
    expect((await door.call('GET', '/admin/stale-flags')).body).toEqual([]);
  });

  it('F14: decides over REST what holds after the store was emptied', async () => {
    expect((await door.call('GET', '/admin/store')).body).toMatchObject({ reachable: true, lost: false, journalled: [] });
    const redis = createRedis(door.redis.url, silentLogger, 'test');
    await redis.connect();
    await redis.flushall();
    redis.disconnect();
    while (!(await door.call('GET', '/admin/store')).body.lost);
    expect((await door.call('POST', '/admin/flags/alpha', { enabled: false })).status).toBe(503);
    expect((await door.call('POST', '/admin/store/reseed', { reason: 'a test' })).body).toMatchObject({ success: true });
    expect((await door.call('GET', '/admin/store')).body).toMatchObject({ lost: false, storeFlags: 2 });
    expect((await door.call('POST', '/admin/store/accept')).status).toBe(409);
  });
});

describe('F23: flags in production over REST', () => {
  beforeEach(async () => {
    door = await new Door().start({ MLX_SERVING_ENV: 'production' });
  });

  it('ask for a reason, but never for a kill', async () => {
    expect((await door.call('PATCH', '/admin/flags/beta', { rolloutPercentage: 11 })).body.error.reason).toBe('REASON_MISSING');
    expect((await door.call('PATCH', '/admin/flags/beta?reason=a+step', { rolloutPercentage: 11 })).status).toBe(200);
    expect((await door.call('POST', '/admin/flags/beta/kill')).status).toBe(200);
    expect((await door.call('POST', '/admin/emergency', { kill_switch: true, rollback_to_baseline: false })).status).toBe(200);
    const refused = [
      await door.call('POST', '/admin/flags/beta/revive'),
      await door.call('POST', '/admin/emergency', { kill_switch: false }),
      await door.call('POST', '/admin/store/accept'),
    ];
    expect(refused.map(({ body }) => body.error.reason)).toEqual(Array(3).fill('REASON_MISSING'));
    expect((await door.call('GET', '/admin/flags/beta')).body.killed).toBe(true);
    expect((await door.call('POST', '/admin/flags/beta/revive', { reason: 'mended' })).status).toBe(200);
    expect((await door.call('POST', '/admin/emergency', { kill_switch: false, reason: 'mended' })).body.emergency.kill_switch).toBe(false);
  });

  it('ask for a reason to go on with a rollout, not to pause or abort it', async () => {
    await door.call('POST', '/admin/flags/beta/rollout?reason=steps', { stages: [{ percentage: 20, wait_ms: 3_600_000 }, { percentage: 30, wait_ms: 0 }] });
    while ((await door.call('GET', '/admin/flags/beta')).body.rolloutPercentage !== 20);
    const control = (what: string) => door.call('POST', `/admin/flags/beta/rollout/${what}`);
    expect([(await control('pause')).status, (await control('resume')).body.error.reason, (await control('resume?reason=fine')).status]).toEqual([200, 'REASON_MISSING', 200]);
    expect((await control('abort')).body.rollout.state).toBe('aborted');
    expect((await door.call('GET', '/admin/flags/beta')).body.rolloutPercentage).toBe(10);
  });

  it('let a large raise and a deletion wait for a second person', async () => {
    const [olga, otto] = [await door.as('olga', 'operator'), await door.as('otto', 'operator')];
    const asked = await door.call('PATCH', '/admin/flags/beta?reason=all+of+it', { rolloutPercentage: 100 }, olga);
    expect(asked.status).toBe(202);
    expect(asked.body).toMatchObject({ success: false, pending: { flag: 'beta', requested_by: 'olga', why: expect.stringContaining('from 10 % to 100 %') }, impact: { turned_on: 0 } });
    expect((await door.call('GET', '/admin/flags/beta')).body.rolloutPercentage).toBe(10);
    const path = `/admin/pending/${asked.body.pending.id}`;
    expect((await door.call('POST', `${path}/approve`, undefined, olga)).body.error.reason).toBe('SECOND_PERSON_NEEDED');
    expect((await door.call('POST', `${path}/approve`, undefined, otto)).status).toBe(200);
    expect((await door.call('GET', '/admin/flags/beta')).body).toMatchObject({ rolloutPercentage: 100, requires: ['alpha'] });
    expect((await door.call('GET', '/admin/pending')).body).toEqual([]);
    const actions = (await door.call('GET', '/admin/audit?limit=3')).body.entries.map(({ action, actor }: { action: string; actor: string }) => [action, actor]);
    expect(actions).toEqual([['set', 'olga'], ['pending.approve', 'otto'], ['pending.ask', 'olga']]);
    const again = await door.call('PATCH', '/admin/flags/beta?reason=less', { rolloutPercentage: 95, environments: { production: { rolloutPercentage: 10 } } }, otto);
    expect(again.status).toBe(200);
    const root = await door.call('PATCH', '/admin/flags/beta?reason=all', { environments: { production: { rolloutPercentage: 100 } } }, { 'x-actor': 'alice' });
    const approval = `/admin/pending/${root.body.pending.id}/approve`;
    expect((await door.call('POST', approval, undefined, { 'x-actor': 'bob' })).body.error.reason).toBe('SECOND_PERSON_NEEDED');
    expect((await door.call('POST', approval)).body.error.reason).toBe('SECOND_PERSON_NEEDED');
    expect((await door.call('POST', approval, undefined, await door.as('eve', 'operator'))).body.error.reason).toBe('APPROVER_TOO_NEW');
    expect((await door.call('POST', approval, undefined, olga)).status).toBe(200);
    expect((await door.call('POST', '/admin/tokens', { name: 'admin', role: 'admin' })).status).toBe(400);
    const deletion = await door.call('DELETE', '/admin/flags/beta?reason=done', undefined);
    expect(deletion.status).toBe(202);
    await door.call('PATCH', '/admin/flags/beta?reason=less', { rolloutPercentage: 90 });
    expect((await door.call('POST', `/admin/pending/${deletion.body.pending.id}/approve`, undefined, otto)).status).toBe(412);
    expect((await door.call('POST', `/admin/pending/${deletion.body.pending.id}/reject`, undefined, otto)).status).toBe(200);
    expect((await door.call('POST', '/admin/flags/beta/rollout?reason=steps', { preset: 'gradual' })).status).toBe(200);
  });
});
