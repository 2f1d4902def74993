import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { until } from '@mlx-serving/testing';
import { Harness, on } from './gateway-harness.ts';

let gateway: Harness;
const variants = [{ name: 'red', weight: 50, payload: { colour: 'red' } }, { name: 'blue', weight: 50, payload: { colour: 'blue' } }];
const FLAGS = {
  on,
  off: { enabled: false },
  half: { ...on, rolloutPercentage: 50, whitelist: ['vip'] },
  premium: { ...on, rules: [{ attribute: 'plan', operator: 'equals', value: 'premium' }, { attribute: 'user_id', operator: 'startsWith', value: 'u' }] },
  colours: { ...on, variants },
  dark: { enabled: false, variants },
};

beforeAll(async () => {
  gateway = new Harness();
  gateway.flags.hold(12n, FLAGS);
  await gateway.start();
});
afterAll(() => gateway.stop());

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${gateway.url}/ofrep/v1/evaluate/flags${path}`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body) });
const single = async (flag: string, context: object = {}) => {
  const response = await post(`/${flag}`, { context });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};
const metadata = { flagsRevision: '12' };

describe('OFREP, one flag (F20)', () => {
  it.each([
    ['on', {}, { key: 'on', value: true, reason: 'STATIC', metadata }],
    ['off', {}, { key: 'off', value: false, reason: 'DISABLED', metadata }],
    ['half', { targetingKey: 'vip' }, { key: 'half', value: true, reason: 'TARGETING_MATCH', metadata }],
    ['premium', { targetingKey: 'u1', plan: 'premium' }, { key: 'premium', value: true, reason: 'TARGETING_MATCH', metadata }],
    ['premium', { targetingKey: 'u1' }, { key: 'premium', value: false, reason: 'DEFAULT', metadata }],
    ['dark', { targetingKey: 'u1' }, { key: 'dark', reason: 'DISABLED', metadata }],
  ])('answers %s for %j, and nothing of its rules, lists and shares', async (flag, context, body) => {
    expect(await single(flag, context)).toEqual({ status: 200, body });
  });

  it('gives the payload of the variant, the same each time', async () => {
    const first = await single('colours', { targetingKey: 'u1' });
    expect(first.body).toMatchObject({ reason: 'SPLIT', variant: (first.body['value'] as { colour: string }).colour });
    expect(await single('colours', { targetingKey: 'u1' })).toEqual(first);
  });

  it.each([
    ['nobody', { context: {} }, 404, { key: 'nobody', errorCode: 'FLAG_NOT_FOUND' }],
    ['half', { context: {} }, 400, { key: 'half', errorCode: 'TARGETING_KEY_MISSING' }],
    ['on', { context: 7 }, 400, { key: 'on', errorCode: 'INVALID_CONTEXT' }],
    ['on', '{', 400, { key: 'on', errorCode: 'PARSE_ERROR' }],
    ['on', '[]', 400, { key: 'on', errorCode: 'PARSE_ERROR' }],
  ])('refuses %s asked with %j in the terms of the protocol', async (flag, body, status, expected) => {
    const response = await post(`/${flag}`, body);
    expect([response.status, await response.json()]).toEqual([status, { ...expected, errorDetails: expect.any(String) }]);
  });

  it('knows no other method', async () => {
    expect((await gateway.get('/ofrep/v1/evaluate/flags/on')).status).toBe(405);
  });
});

describe('OFREP, all flags (F20)', () => {
  it('answers every flag as one by one, with an ETag of the revision and the question', async () => {
    const context = { targetingKey: 'u1', plan: 'premium' };
    const response = await post('', { context });
    const { flags } = (await response.json()) as { flags: { key: string }[] };
    expect(flags.map(({ key }) => key)).toEqual(Object.keys(FLAGS).sort());
    for (const flag of flags) expect(flag).toEqual((await single(flag.key, context)).body);
    const etag = response.headers.get('etag')!;
    expect(etag).toMatch(/^"12-[0-9a-f]{16}"$/);
    expect((await post('', { context }, { 'if-none-match': etag })).status).toBe(304);
    expect((await post('', { context: { targetingKey: 'u2' } }, { 'if-none-match': etag })).status).toBe(200);
  });

  it('has news after a change', async () => {
    const etag = (await post('', {})).headers.get('etag')!;
    gateway.flags.send({ case: 'delta', value: { baseRevision: 12n, revision: 13n, removed: ['dark'] } });
    await until(async () => (await post('', {}, { 'if-none-match': etag })).status === 200);
    expect(((await (await post('', {})).json()) as { flags: { key: string }[] }).flags.map(({ key }) => key)).not.toContain('dark');
  });

  it('names a flag that needs a key instead of failing the others', async () => {
    const { flags } = (await (await post('', {})).json()) as { flags: object[] };
    expect(flags).toContainEqual({ key: 'half', errorCode: 'TARGETING_KEY_MISSING', errorDetails: expect.any(String) });
    expect(flags).toContainEqual(expect.objectContaining({ key: 'on', value: true }));
  });
});
