/* eslint-disable @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return -- bodies are the JSON under test */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chat } from './clients.ts';
import { eventually } from './eventually.ts';
import { FlagsStack, seedsRule, users } from './flags-stack.ts';
import { root, Stack, stopAll, temporaryFolder } from './stack.ts';

let system: FlagsStack;

beforeAll(async () => {
  system = new FlagsStack(await Stack.start());
});
afterAll(async () => {
  system.close();
  await stopAll();
});

describe('F1 the file, its aliases and its sub-features', () => {
  it('declares every part of the reference, with percentage for rollout_percentage and sub-features by dots', async () => {
    const { body } = await system.admin('GET', '/admin/flags');
    const flags: Record<string, unknown> = Object.fromEntries((body as { name: string }[]).map((flag) => [flag.name, flag]));
    expect(Object.keys(flags)).toEqual(expect.arrayContaining(['phase4_rollout', 'ttft_pipeline', 'ttft_pipeline.speculation', 'qos_monitor', 'adaptive_governor', 'http2_transport']));
    expect(flags['phase4_rollout']).toMatchObject({ enabled: true, rolloutPercentage: 100, hashSeed: 'phase4-rollout-2025-01-08' });
  });

  it('has a sub-feature on only where its parent is, in the bucket of its parent, at no more than two levels', async () => {
    await system.set('family', { rolloutPercentage: 40, hashSeed: 'f' });
    await system.set('family.child', { rolloutPercentage: 40 });
    const parents = await system.onAmong('family', users(60));
    expect(parents.length).toBeGreaterThan(5);
    expect(await system.onAmong('family.child', users(60))).toEqual(parents);
    expect((await system.admin('POST', '/admin/flags/family.child.third', { enabled: true })).status).toBe(400);
    await system.set('family', { enabled: false });
    expect(await system.onAmong('family.child', parents)).toEqual([]);
  });
});

describe('F2 md5 bucketing', () => {
  it('is the rule of the source documents for whole percentages, and a rise turns nobody off', async () => {
    let before: readonly string[] = [];
    for (const percentage of [0, 13, 13.5, 50, 100]) {
      await system.set('bucket', { rolloutPercentage: percentage, hashSeed: 'seed-2025' });
      const on = await system.onAmong('bucket', users(80));
      if (Number.isInteger(percentage)) expect(on).toEqual(users(80).filter((user) => seedsRule(user, 'seed-2025', percentage)));
      expect(before.filter((user) => !on.includes(user))).toEqual([]);
      before = on;
    }
  });

  it('hashes name and key where there is no seed, and refuses more than three decimals', async () => {
    await system.set('seedless', { rolloutPercentage: 30 });
    expect(await system.onAmong('seedless', users(60))).toEqual(users(60).filter((user) => seedsRule('seedless', user, 30)));
    expect((await system.admin('POST', '/admin/flags/seedless', { enabled: true, rolloutPercentage: 0.0001 })).body.error.message).toContain('three decimals');
  });
});

describe('F3 the strategies', () => {
  it('hash answers one key always alike, random draws anew', async () => {
    await system.set('steady', { rolloutPercentage: 50, strategy: 'hash' });
    await system.set('drawn', { rolloutPercentage: 50, strategy: 'random' });
    const answers = async (name: string) => new Set(await Promise.all(users(40).map(() => system.isOn(name, 'one'))));
    expect((await answers('steady')).size).toBe(1);
    expect((await answers('drawn')).size).toBe(2);
  });
});

describe('F4 the order of evaluation', () => {
  const reasonOf = async (name: string, key?: string, attributes: object = {}) => (await system.admin('POST', `/admin/flags/${name}/explain`, { ...(key === undefined ? {} : { key }), attributes })).body;

  it('goes from the emergency to the percentage; each answer has its reason, and explain shows each step', async () => {
    await system.set('order', { rolloutPercentage: 50, hashSeed: 'o', blacklist: ['bad', 'both'], whitelist: ['good', 'both'], rules: [{ attribute: 'plan', operator: 'equals', value: 'pro' }] });
    expect(await reasonOf('order', 'both')).toMatchObject({ enabled: false, reason: 'BLACKLISTED' });
    expect(await reasonOf('order', 'good')).toMatchObject({ enabled: true, reason: 'WHITELISTED' });
    expect(await reasonOf('order', 'u', { plan: 'free' })).toMatchObject({ enabled: false, reason: 'RULE_MISMATCH' });
    const full = await reasonOf('order', 'user-1', { plan: 'pro' });
    expect(full.steps.map(({ check }: { check: string }) => check)).toEqual(['emergency', 'kill', 'enabled', 'blacklist', 'whitelist', 'rule', 'rollout']);
    expect(full.steps.at(-1).detail).toMatch(/^fine=\d+ < 50000\? (yes|no)$/);
    expect((await system.admin('POST', '/admin/flags/nobody/explain', {})).status).toBe(404);
    await system.admin('POST', '/admin/flags/order/kill');
    expect(await reasonOf('order', 'good')).toMatchObject({ enabled: false, reason: 'KILLED' });
    expect(await system.evaluate('order', 'good')).toMatchObject({ value: false, reason: 'DISABLED' });
  });

  it('lets kill_switch turn every flag off, and rollback_to_baseline leave flags alone', async () => {
    await system.admin('POST', '/admin/emergency', { kill_switch: true, rollback_to_baseline: true });
    expect((await chat(system.stack, { maxTokens: 1 })).flags).toEqual([]);
    expect(await reasonOf('phase4_rollout')).toMatchObject({ reason: 'EMERGENCY' });
    await system.admin('POST', '/admin/emergency', { kill_switch: false });
    const { flags, variant } = await chat(system.stack, { maxTokens: 1 });
    expect([flags.includes('phase4_rollout'), variant]).toEqual([true, 'baseline']);
    await system.admin('POST', '/admin/emergency', { rollback_to_baseline: false });
  });
});

describe('F5 the rules', () => {
  it.each<[string, unknown, unknown, unknown]>([
    ['equals', 'a', 'a', 'b'],
    ['notEquals', 'a', 'b', 7],
    ['contains', 'x', 'axb', 7],
    ['in', ['a', 'b'], 'b', 'c'],
    ['notIn', ['a', 'b'], 'c', 'a'],
    ['startsWith', 'ab', 'abc', 'cab'],
    ['endsWith', '@x.org', 'a@x.org', '@x.org.evil'],
    ['matches', '^(a|b)+$', 'abba', 'abc'],
    ['greaterThan', 18, 19, '19'],
    ['greaterThanOrEqual', 18, 18, 17],
    ['lessThan', 18, 17, 18],
    ['lessThanOrEqual', 18, 18, 19],
    ['before', '2026-01-31', '2026-01-30', '2026-02-01'],
    ['after', '2026-01-31T12:00:00Z', '2026-01-31T12:00:01Z', '2026-01-31'],
    ['semverEqual', '1.9.0', '1.9.0', '1.9.0-rc.1'],
    ['semverGreaterThan', '1.9.0', '1.10.0', '1.9.0'],
    ['semverGreaterThanOrEqual', '1.9.0', '1.9.0', '1.9.0-rc.1'],
    ['semverLessThan', '1.10.0', '1.9.0', '1.10.0'],
    ['semverLessThanOrEqual', '1.10.0', '1.10.0', '1.11.0'],
  ])('%s: matches what it should, and never what is missing', async (operator, value, matching, other) => {
    await system.set('ruled', { rules: [{ attribute: 'x', operator, value }] });
    const answers = await Promise.all([{ x: matching }, { x: other }, {}].map(async (attributes) => (await system.evaluate('ruled', 'u', attributes)).value));
    expect(answers).toEqual([true, false, false]);
  });
});

describe('F6 segments and variants', () => {
  it('has a flag on for the members of a named segment, besides the percentage', async () => {
    await system.admin('POST', '/admin/segments/staff', { includedKeys: ['ada'], excludedKeys: ['eve'], rules: [{ attribute: 'email', operator: 'endsWith', value: '@example.org' }] });
    await system.set('inside', { segments: ['staff'] });
    const on = async (key: string, attributes: object = {}) => (await system.evaluate('inside', key, attributes)).value;
    expect([await on('ada'), await on('bob', { email: 'bob@example.org' }), await on('eve', { email: 'eve@example.org' }), await on('bob')]).toEqual([true, true, false, false]);
  });

  it('gives variants with payloads, sticky, and moves only the share that moved', async () => {
    const of = async (...weights: number[]) => {
      await system.set('colours', { hashSeed: 'c', variants: weights.map((weight, index) => ({ name: `v${index}`, weight, payload: { index } })) });
      return Promise.all(users(60).map(async (user) => (await system.evaluate('colours', user)).variant));
    };
    const before = await of(40, 30, 30);
    expect(new Set(before)).toEqual(new Set(['v0', 'v1', 'v2']));
    const after = await of(60, 10, 30);
    expect(before.every((variant, index) => variant === after[index] || (variant === 'v1' && after[index] === 'v0'))).toBe(true);
    expect((await system.evaluate('colours', 'user-1')).value).toEqual({ index: Number(after[1]?.slice(1)) });
  });
});

describe('F7 a partial rollout without a key', () => {
  it('is off, and at 100 % it is on', async () => {
    await system.set('partial', { rolloutPercentage: 99.999 });
    expect(await system.evaluate('partial', undefined)).toMatchObject({ errorCode: 'TARGETING_KEY_MISSING' });
    expect(await system.isOn('partial')).toBe(false);
    await system.set('partial', { rolloutPercentage: 100 });
    expect(await system.isOn('partial')).toBe(true);
  });
});

describe('F8 required flags', () => {
  it('turn a flag off that needs them, and may form no circle', async () => {
    await system.set('base', { rolloutPercentage: 50, hashSeed: 'b' });
    await system.set('on_top', { requires: ['base'] });
    expect(await system.onAmong('on_top', users(30))).toEqual(await system.onAmong('base', users(30)));
    expect((await system.admin('POST', '/admin/flags/base', { enabled: true, requires: ['on_top'] })).body.error.message).toContain('circle');
    const { body } = await system.admin('GET', '/admin/flags');
    const phases = body.filter(({ name }: { name: string }) => ['ttft_pipeline', 'qos_monitor', 'adaptive_governor', 'http2_transport'].includes(name));
    expect(phases.map(({ requires }: { requires: string[] }) => requires)).toEqual(Array(4).fill(['phase4_rollout']));
  });
});

describe('F9 environments', () => {
  it('put what this environment says in the place of what the flag says, and no other', async () => {
    await system.set('abroad', { rolloutPercentage: 0, environments: { development: { rolloutPercentage: 100 }, production: { enabled: false } } });
    expect(await system.isOn('abroad', 'u')).toBe(true);
    await system.set('abroad', { rolloutPercentage: 100, environments: { production: { enabled: false } } });
    expect(await system.isOn('abroad', 'u')).toBe(true);
  });
});

describe('F15 the validator', () => {
  const validate = (file: string) => spawnSync(process.execPath, ['tools/validate-feature-flags.ts', file], { cwd: root, encoding: 'utf8' });

  it('prints four lines for the file that runs, and every error of a bad one by line and column', () => {
    expect(validate(system.file)).toMatchObject({ status: 0, stdout: expect.stringMatching(/^(✓ .+\n){4}$/) });
    const bad = join(temporaryFolder(), 'bad.yaml');
    writeFileSync(bad, 'a:\n  enabled: maybe\n  rollout_percentage: 101\n  hash_seed: a\n');
    const { status, stderr } = validate(bad);
    expect([status, stderr.match(/bad\.yaml:\d+:\d+/g)]).toEqual([1, ['bad.yaml:2:12', 'bad.yaml:3:23']]);
  });
});

describe('F17 usage', () => {
  it('is counted in memory, added to Redis in batches, and shown with its shares', async () => {
    await system.set('counted', { rolloutPercentage: 50, hashSeed: 'n' });
    const on = (await system.onAmong('counted', users(60))).length;
    await eventually(async () => (await system.redis.mget('flag:counted:enabled', 'flag:counted:disabled')).join() === `${on},${60 - on}`);
    expect((await system.admin('GET', '/admin/flags/counted/metrics')).body).toEqual({ enabled: on, disabled: 60 - on, enabledPercent: (on / 60) * 100 });
    await system.set('unasked', {});
    expect((await system.admin('GET', '/admin/flags/unasked/metrics')).body.enabledPercent).toBeNull();
  });
});

describe('F18 the admin REST interface', () => {
  it('writes, patches, reads, reverts, exports, imports and deletes, and refuses a lost update with 412', async () => {
    const first = await system.set('rest', { rolloutPercentage: 1 });
    const etag = first.headers.get('etag') ?? '';
    expect((await system.admin('PATCH', '/admin/flags/rest', { rolloutPercentage: 2 }, { 'if-match': etag })).status).toBe(200);
    expect((await system.admin('PATCH', '/admin/flags/rest', { rolloutPercentage: 3 }, { 'if-match': etag })).status).toBe(412);
    await system.admin('POST', '/admin/flags/rest/revert', { revision: first.body.flag.revision });
    expect((await system.admin('GET', '/admin/flags/rest')).body.rolloutPercentage).toBe(1);
    const exported = (await system.admin('GET', '/admin/export')).body;
    expect((await system.admin('DELETE', '/admin/flags/rest')).body.success).toBe(true);
    expect((await system.admin('POST', '/admin/import', { flags: { rest: exported.flags.rest } })).body.success).toBe(true);
    expect((await system.admin('GET', '/admin/flags/rest/history')).body.entries.map(({ action }: { action: string }) => action)).toEqual(['import', 'delete', 'revert', 'patch', 'set']);
    expect((await fetch(`${system.stack.urls.admin}/admin/flags`)).status).toBe(401);
  });
});
