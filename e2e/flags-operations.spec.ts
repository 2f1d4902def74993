/* eslint-disable @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return -- bodies are the JSON under test */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createServiceClient, Flags } from '@mlx-serving/contracts';
import { isAlive } from '../tools/start/processes.ts';
import { chat, output } from './clients.ts';
import { eventually } from './eventually.ts';
import { FlagsStack, ServiceProcess, users } from './flags-stack.ts';
import { freeOffset, root, Stack, stopAll } from './stack.ts';

let system: FlagsStack;
const others: ServiceProcess[] = [];

beforeAll(async () => {
  // What other tools write in Redis is seen sooner than by default, so that the tests wait less.
  system = new FlagsStack(await Stack.start({ env: { MLX_SERVING_FLAGS_REFRESH_MS: '1000' } }));
});
afterAll(async () => {
  await Promise.all(others.map((other) => other.stop()));
  system.close();
  await stopAll();
});

const flagsOf = async (user = 'someone'): Promise<readonly string[]> => (await chat(system.stack, { user, maxTokens: 1 })).flags;
const kill = (name: string) => system.admin('POST', `/admin/flags/${name}/kill`);
const revive = (name: string) => system.admin('POST', `/admin/flags/${name}/revive`, { reason: 'end of the test' });
const auditOf = async (flag: string) => (await system.admin('GET', `/admin/audit?flag=${flag}`)).body.entries;

describe('F10 the hash in Redis', () => {
  it('honours what any tool writes there, keeps fields that it does not know, and audits it as external', async () => {
    await system.redis.hset('feature_flags', 'by_hand', JSON.stringify({ enabled: true, rolloutPercentage: 100, whitelist: [], blacklist: ['bad'], killSwitch: false, rules: [], owner: 'search' }));
    await eventually(() => system.isOn('by_hand', 'u'));
    expect(await system.isOn('by_hand', 'bad')).toBe(false);
    await system.admin('PATCH', '/admin/flags/by_hand', { rolloutPercentage: 0 });
    expect(JSON.parse((await system.redis.hget('feature_flags', 'by_hand')) ?? '')).toMatchObject({ owner: 'search', rolloutPercentage: 0, blacklist: ['bad'] });
    expect((await auditOf('by_hand')).map(({ action, actor }: { action: string; actor: string }) => [action, actor])).toEqual([['patch', 'admin'], ['external', 'external']]);
  });

  it('reports an entry that cannot be read and keeps its last good value, and forgets a flag that is deleted there', async () => {
    await system.set('fragile', {});
    await system.redis.hset('feature_flags', 'fragile', '{"enabled":');
    await eventually(async () => 'fragile' in (await system.health('flags')).undecodable);
    expect(await system.isOn('fragile', 'u')).toBe(true);
    await system.redis.hdel('feature_flags', 'fragile');
    await eventually(async () => (await system.evaluate('fragile', 'u')).errorCode === 'FLAG_NOT_FOUND');
  });
});

describe('F11 decisions from memory', () => {
  it('follow a change through the API at once, and no gateway has a connection to Redis', async () => {
    await system.set('pushed', { rolloutPercentage: 0 });
    expect(await system.isOn('pushed', 'u')).toBe(false);
    await system.set('pushed', { rolloutPercentage: 100 });
    expect(await system.isOn('pushed', 'u')).toBe(true);
    const names = String(await system.redis.client('LIST')).match(/name=mlx-serving-[\w-]+/g) ?? [];
    expect(names).toContain('name=mlx-serving-flags');
    expect(names.filter((name) => name.includes('gateway'))).toEqual([]);
  });
});

describe('F12 the file, read again', () => {
  it('when it changes and on SIGHUP to the pid file, and an invalid one changes nothing but the log and a metric', async () => {
    system.editFile((text) => text.replace(/(http2_transport:\n\s+enabled: )false(\n\s+rollout_percentage: )0/, '$1true$2100'));
    await eventually(() => system.isOn('http2_transport', 'u'));
    const good = readFileSync(system.file, 'utf8');
    system.editFile((text) => text.replace('rollout_percentage: 100', 'rollout_percentage: 1000'));
    await eventually(() => /feature-flags\.yaml:\d+:\d+/.test(system.stack.log('flags')));
    expect(await system.isOn('http2_transport', 'u')).toBe(true);
    expect(await system.metrics('flags')).toMatch(/refused_files_total [1-9]/);
    writeFileSync(system.file, `${good}\n# edited\n`);
    const before = system.stack.reloadsOf('flags');
    process.kill(Number(readFileSync(system.stack.urls.pidFile, 'utf8')), 'SIGHUP');
    await eventually(() => system.stack.reloadsOf('flags') > before);
  });
});

describe('F13 the file and Redis together', () => {
  it('writes only the flags whose own text in the file changed, as the actor file:', async () => {
    await system.admin('PATCH', '/admin/flags/qos_monitor', { rolloutPercentage: 7 });
    system.editFile((text) => text.replace(/(adaptive_governor:\n\s+enabled: )false(\n\s+rollout_percentage: )0/, '$1true$2100'));
    await eventually(() => system.isOn('adaptive_governor', 'u'));
    expect((await system.admin('GET', '/admin/flags/qos_monitor')).body.rolloutPercentage).toBe(7);
    expect((await auditOf('adaptive_governor'))[0]).toMatchObject({ action: 'file', actor: expect.stringMatching(/^file:.*feature-flags\.yaml$/) });
  });

  it('has a kill outlive an edit, an import, a raw HSET, a ramp, a reload and a restart, until a revive', async () => {
    const proof = await kill('ttft_pipeline');
    expect(proof.status).toBe(200);
    const definition = { enabled: true, rolloutPercentage: 100, killSwitch: false };
    await system.set('ttft_pipeline', definition);
    await system.admin('POST', '/admin/import', { flags: { ttft_pipeline: definition } });
    await system.redis.hset('feature_flags', 'ttft_pipeline', JSON.stringify({ ...definition, rolloutPercentage: 99 }));
    await eventually(async () => (await system.admin('GET', '/admin/flags/ttft_pipeline')).body.rolloutPercentage === 99);
    expect((await system.admin('POST', '/admin/flags/ttft_pipeline/rollout', { stages: [{ percentage: 100, wait_ms: 0 }] })).status).toBe(400);
    const before = system.stack.reloadsOf('flags');
    system.editFile((text) => `${text}\n# once more\n`);
    await eventually(() => system.stack.reloadsOf('flags') > before);
    const flags = system.stack.child('flags').pid;
    process.kill(flags, 'SIGKILL');
    await eventually(async () => !isAlive(flags) && (await system.admin('GET', '/admin/flags/ttft_pipeline')).body.killed === true);
    expect((await flagsOf()).filter((flag) => flag.startsWith('ttft_pipeline'))).toEqual([]);
    await eventually(async () => (await revive('ttft_pipeline')).body.acknowledged.length === 1);
    await system.set('ttft_pipeline', { ...definition, requires: ['phase4_rollout'] });
    expect(await flagsOf()).toContain('ttft_pipeline');
  });
});

describe('F19 a kill', () => {
  it('answers with who has applied it in how many milliseconds, and holds for the next request', async () => {
    const { body } = await kill('ttft_pipeline');
    expect(body).toMatchObject({ acknowledged: [{ replica: expect.any(String), milliseconds: expect.any(Number) }], missing: [], durable: true });
    expect(await flagsOf()).not.toContain('ttft_pipeline');
    await revive('ttft_pipeline');
  });

  it('ends the streams that run under a flag that says so', async () => {
    await system.set('cut', { abortInFlight: true });
    const worker = system.stack.child('worker').pid;
    // Without its end token the answer is long enough to be running still when the worker is stopped.
    const body = JSON.stringify({ model: 'tiny', stream: true, max_tokens: 1_800, temperature: 0, logit_bias: { 0: -100 }, messages: [{ role: 'user', content: 'Explain the canary.' }] });
    const response = await fetch(`${system.stack.urls.gateway}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    process.kill(worker, 'SIGSTOP');
    try {
      await kill('cut');
      expect(await response.text()).toContain('feature_killed');
    } finally {
      process.kill(worker, 'SIGCONT');
    }
    await revive('cut');
  });

  it('reaches the gateways of another flag service on the same Redis, and its proof names them', async () => {
    const offset = await freeOffset();
    const env = { MLX_SERVING_FLAGS_GRPC_PORT: String(50_052 + offset), MLX_SERVING_FLAGS_OPERATIONS_PORT: String(9_102 + offset), MLX_SERVING_REPLICA_ID: 'second' };
    others.push(await ServiceProcess.start(system, 'flags', 9_102 + offset, env));
    const client = createServiceClient(Flags, `127.0.0.1:${50_052 + offset}`);
    await system.set('far', {});
    const proof = await eventually(async () => {
      const { propagation } = await client.killFlag({ name: 'far', actor: 'a', reason: '' });
      if (propagation?.acknowledged.length !== 1) await client.reviveFlag({ name: 'far', actor: 'a', reason: '' });
      return propagation?.acknowledged.length === 1 && propagation;
    });
    expect(proof).toMatchObject({ missing: [], durable: true });
    expect(await system.isOn('far', 'u')).toBe(false);
    client.close();
  });
});

describe('F22 the audit trail', () => {
  it('says who, what, when, why, before and after, and travels in time', async () => {
    const then = (await system.set('told', { rolloutPercentage: 10 })).body.flag.revision;
    await system.admin('PATCH', '/admin/flags/told?reason=more', { rolloutPercentage: 20 });
    expect((await auditOf('told'))[0]).toMatchObject({ action: 'patch', actor: 'admin', reason: 'more', at: expect.any(String), before: { rolloutPercentage: 10 }, after: { rolloutPercentage: 20 } });
    expect((await system.admin('GET', `/admin/flags/told?revision=${then}&key=u`)).body).toMatchObject({ rolloutPercentage: 10, evaluation: { enabled: expect.any(Boolean) } });
    expect((await system.admin('GET', `/admin/diff?from=${then}`)).body.flags).toEqual([expect.objectContaining({ name: 'told', before: expect.objectContaining({ rolloutPercentage: 10 }), after: expect.objectContaining({ rolloutPercentage: 20 }) })]);
  });
});

describe('F23 access and production', () => {
  it('gives roles to tokens; in production a change needs a reason, and a large one or a deletion a second person', async () => {
    const offset = await freeOffset();
    const ports = { MLX_SERVING_FLAGS_GRPC_PORT: String(50_052 + offset), MLX_SERVING_FLAGS_OPERATIONS_PORT: String(9_102 + offset), MLX_SERVING_ADMIN_HTTP_PORT: String(3_001 + offset), MLX_SERVING_ADMIN_OPERATIONS_PORT: String(9_105 + offset) };
    const env = { ...ports, MLX_SERVING_ENV: 'production', MLX_SERVING_REPLICA_ID: 'production', MLX_SERVING_FLAGS_ADDRESS: `127.0.0.1:${50_052 + offset}`, MLX_SERVING_ADMIN_TOKEN_FILE: system.stack.urls.adminTokenFile };
    others.push(await ServiceProcess.start(system, 'flags', 9_102 + offset, env));
    others.push(await ServiceProcess.start(system, 'admin', 9_105 + offset, env));
    const door = `http://127.0.0.1:${3_001 + offset}`;
    const tokenOf = async (name: string, role: string) => ({ authorization: `Bearer ${(await system.admin('POST', '/admin/tokens', { name, role }, {}, door)).body.secret as string}` });
    const [vera, olga, otto] = [await tokenOf('vera', 'viewer'), await tokenOf('olga', 'operator'), await tokenOf('otto', 'operator')];
    await system.set('guarded', { rolloutPercentage: 10 });
    await eventually(async () => (await system.admin('GET', '/admin/flags/guarded', undefined, vera, door)).status === 200);
    expect((await system.admin('POST', '/admin/flags/guarded/kill', undefined, vera, door)).status).toBe(403);
    expect((await system.admin('PATCH', '/admin/flags/guarded', { rolloutPercentage: 11 }, olga, door)).body.error.reason).toBe('REASON_MISSING');
    const asked = await system.admin('PATCH', '/admin/flags/guarded?reason=all', { rolloutPercentage: 100 }, olga, door);
    expect([asked.status, asked.body.impact.message]).toEqual([202, expect.stringMatching(/^turns on \d+ of \d+ recent keys, off \d+$/)]);
    const approve = `/admin/pending/${asked.body.pending.id as string}/approve`;
    expect((await system.admin('POST', approve, undefined, olga, door)).body.error.reason).toBe('SECOND_PERSON_NEEDED');
    expect((await system.admin('POST', approve, undefined, otto, door)).status).toBe(200);
    await eventually(() => system.isOn('guarded', 'u'));
    expect((await system.admin('DELETE', '/admin/flags/guarded?reason=done', undefined, {}, door)).status).toBe(202);
    expect((await system.admin('POST', '/admin/flags/guarded/kill', undefined, olga, door)).body.success).toBe(true);
    expect((await system.admin('POST', '/admin/flags/guarded/revive', undefined, olga, door)).body.error.reason).toBe('REASON_MISSING');
    expect((await system.admin('POST', '/admin/flags/guarded/revive', { reason: 'mended' }, olga, door)).body.success).toBe(true);
  });
});

describe('F24 a rollout in stages', () => {
  it('changes the percentage alone, stops when the flag is killed, and goes on when told to', async () => {
    await system.set('ramp', { rolloutPercentage: 0, blacklist: ['bad'], whitelist: ['good'] });
    await system.admin('POST', '/admin/flags/ramp/rollout', { stages: [{ percentage: 1, wait_ms: 0 }, { percentage: 50, wait_ms: 3_600_000 }, { percentage: 100, wait_ms: 0 }] });
    const flag = async () => (await system.admin('GET', '/admin/flags/ramp')).body;
    const rollout = async () => (await system.admin('GET', '/admin/rollouts')).body[0];
    await eventually(async () => (await flag()).rolloutPercentage === 50);
    expect(await flag()).toMatchObject({ blacklist: ['bad'], whitelist: ['good'] });
    await kill('ramp');
    await eventually(async () => (await rollout()).state === 'stopped');
    expect([(await rollout()).note, (await flag()).killed]).toEqual(['The flag was killed.', true]);
    await revive('ramp');
    expect((await system.admin('POST', '/admin/flags/ramp/rollout/resume')).body.rollout).toMatchObject({ state: 'running', stage: 1 });
    await kill('ramp');
    await eventually(async () => (await rollout()).state === 'stopped');
    expect((await system.admin('POST', '/admin/flags/ramp/rollout/abort')).body.rollout.state).toBe('aborted');
    expect(await flag()).toMatchObject({ rolloutPercentage: 0, killed: true });
  });
});

describe('F25 stale flags', () => {
  it('are reported by why, over REST and the command line, with where the code names them', async () => {
    await system.set('forgotten', { rolloutPercentage: 5 });
    await system.isOn('pushed', 'u');
    const stale = async () => (await system.admin('GET', '/admin/stale-flags?stable_ms=1')).body;
    await eventually(async () => (await stale()).some(({ name, why }: { name: string; why: string }) => name === 'pushed' && why === 'rolled-out'));
    expect(await stale()).toContainEqual(expect.objectContaining({ name: 'forgotten', why: 'never-evaluated', decisions: 0 }));
    expect((await system.admin('GET', '/admin/stale-flags')).body).toEqual([]);
    const command = [process.execPath, '--conditions=@mlx-serving/source', '--disable-warning=ExperimentalWarning', join(root, 'apps', 'cli', 'src', 'main.ts'), 'flags', 'stale', '--days', '0.00000002', '--scan', 'e2e'];
    const text = await output(command, '', { MLX_SERVING_ADMIN_URL: system.stack.urls.admin, MLX_SERVING_ADMIN_TOKEN_FILE: system.stack.urls.adminTokenFile });
    expect(text).toMatch(/^forgotten: never evaluated, unchanged since .*\n {2}.*flags-operations\.spec\.ts:\d+/m);
  });
});

describe('F26 observability', () => {
  it('counts decisions, and shows percentages and the kill switch under the names of the source documents', async () => {
    await eventually(async () => /^mlx_serving_feature_flags_decisions_total\{feature="pushed",enabled="true"\} [1-9]/m.test(await system.metrics('flags')));
    const text = await system.metrics('flags');
    expect(text).toContain('mlx_serving_feature_flags_rollout_percentage{feature="pushed"} 100');
    expect(text).toContain('mlx_serving_feature_flags_kill_switch{value="false"} 0');
    expect(await system.metrics('gateway')).toMatch(/^feature_flag_checks_total\{feature="pushed",enabled="true"\} [1-9]/m);
    expect(await system.metrics('gateway')).toMatch(/^feature_flag_evaluation_duration_ms_count [1-9]/m);
  });
});

describe('F14 the store away', () => {
  it('fails no decision while Redis hangs; a kill holds at once, says that it is not durable, and is in Redis when that goes on', async () => {
    const redis = system.stack.child('redis').pid;
    process.kill(redis, 'SIGSTOP');
    try {
      const { body } = await kill('phase4_rollout');
      expect(body).toMatchObject({ durable: false, acknowledged: [expect.anything()] });
      expect(await flagsOf()).not.toContain('phase4_rollout');
      expect((await system.admin('PATCH', '/admin/flags/pushed', { rolloutPercentage: 1 })).status).toBe(503);
      expect((await revive('phase4_rollout')).status).toBe(503);
      expect(await system.onAmong('pushed', users(20))).toHaveLength(20);
      await eventually(async () => (await system.health('flags')).degraded === true);
    } finally {
      process.kill(redis, 'SIGCONT');
    }
    await eventually(async () => (await system.admin('GET', '/admin/store')).body.journalled.length === 0);
    expect(JSON.parse((await system.redis.hget('feature_flags:kills', 'phase4_rollout')) ?? '')).toMatchObject({ actor: 'admin' });
    // What was refused is not carried out behind the caller's back.
    expect((await system.admin('GET', '/admin/flags/pushed')).body.rolloutPercentage).toBe(100);
    expect(await flagsOf()).not.toContain('phase4_rollout');
    await revive('phase4_rollout');
  });

  it('does not take an emptied Redis for deleted flags', async () => {
    await Promise.all(others.splice(0).map((other) => other.stop()));
    await kill('far');
    await system.redis.flushall();
    await eventually(async () => (await system.admin('GET', '/admin/store')).body.lost === true);
    expect([await system.isOn('pushed', 'u'), await system.isOn('far', 'u')]).toEqual([true, false]);
    expect((await system.admin('POST', '/admin/flags/pushed', { enabled: false })).body.error.reason).toBe('STORE_LOST');
    expect((await system.admin('POST', '/admin/store/reseed', { reason: 'a test' })).body.success).toBe(true);
    expect(await system.redis.hexists('feature_flags', 'pushed')).toBe(1);
    expect(await system.redis.hexists('feature_flags:kills', 'far')).toBe(1);
  });
});

describe('F27 availability and latency', () => {
  it('decides while the flag service and Redis both hang, also in a gateway that starts then; every change says its latency', async () => {
    const { body } = await system.set('pushed', { rolloutPercentage: 100 });
    expect(body.propagation.acknowledged).toEqual([{ replica: expect.any(String), milliseconds: expect.any(Number) }]);
    const before = await flagsOf();
    const [flags, redis, gateway] = ['flags', 'redis', 'gateway'].map((name) => system.stack.child(name).pid) as [number, number, number];
    for (const pid of [flags, redis]) process.kill(pid, 'SIGSTOP');
    try {
      expect(await system.onAmong('pushed', users(50))).toHaveLength(50);
      process.kill(gateway, 'SIGKILL');
      await eventually(() => !isAlive(gateway));
      expect(await eventually(() => flagsOf())).toEqual(before);
      expect(await system.onAmong('pushed', users(50))).toHaveLength(50);
    } finally {
      for (const pid of [redis, flags]) process.kill(pid, 'SIGCONT');
    }
  });
});

describe('F22 the chain of the audit trail', () => {
  it('is a chain: it is intact, until an entry is removed', async () => {
    expect((await system.admin('GET', '/admin/audit/verify')).body).toMatchObject({ intact: true, problems: [] });
    const [[id] = ['']] = await system.redis.xrange('feature_flags:audit', '-', '+', 'COUNT', 1);
    await system.redis.xdel('feature_flags:audit', id);
    expect((await system.admin('GET', '/admin/audit/verify')).body).toMatchObject({ intact: false, problems: [expect.stringContaining('removed'), expect.anything(), expect.anything()] });
  });
});
