import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Priority } from '@mlx-serving/contracts';
import { FakeWorker, until } from '@mlx-serving/testing';
import { Harness, on } from './gateway-harness.ts';

const secret = `mlxk_0123456789ab_${'s'.repeat(43)}`;
const bearer = { authorization: `Bearer ${secret}` };
const gateway = new Harness({ worker: new FakeWorker({ script: ['ok'] }) });

beforeAll(async () => {
  gateway.flags.hold(12n, {
    chosen: { ...on, rolloutPercentage: 0, whitelist: ['ada', 'key-1'] },
    team: { ...on, rules: [{ attribute: 'tenant', operator: 'equals', value: 'team-a' }] },
  });
  await gateway.start();
  const key = { id: 'key-1', name: 'search', tenant: 'team-a', priority: Priority.NORMAL, secretHash: createHash('sha256').update(secret).digest('hex') };
  gateway.flags.send({ case: 'apiKeys', value: { keys: [key] } });
  await until(async () => (await gateway.get('/v1/models', bearer)).status === 200);
});
afterAll(() => gateway.stop());

/** What each door says of a flag for a request with these headers: that of tokens, that of one flag and of several, and OFREP's two. */
async function answers(flag: string, headers: Record<string, string>): Promise<boolean[]> {
  const json = async (response: Promise<Response>) => (await (await response).json()) as Record<string, unknown>;
  const decided = (await gateway.chat({}, { headers })).headers.get('x-mlx-serving-flags') ?? '';
  const several = (await json(gateway.get(`/api/flags?name=${flag}`, headers)))['flags'] as Record<string, boolean>;
  const bulk = (await json(gateway.post('/ofrep/v1/evaluate/flags', {}, { headers })))['flags'] as { key: string; value: boolean }[];
  return [
    decided.split(',').includes(flag),
    (await json(gateway.get(`/api/flags/${flag}`, headers)))['enabled'] === true,
    several[flag] === true,
    (await json(gateway.post(`/ofrep/v1/evaluate/flags/${flag}`, {}, { headers })))['value'] === true,
    bulk.find(({ key }) => key === flag)?.value === true,
  ];
}

const YES = Array<boolean>(5).fill(true);
const NO = Array<boolean>(5).fill(false);

async function route(key: string, header: string): Promise<void> {
  const path = join(gateway.directory, 'runtime.yaml');
  await writeFile(path, (await readFile(path, 'utf8')).replace(/( {2}key:) \[.*\]\n( {2}header:) .*/, `$1 [${key}]\n$2 ${header}`));
  await gateway.app.reload?.();
}

describe('a flag for a front end and for a request for tokens (F20)', () => {
  it('is the same by the header that the routing names, and by no other', async () => {
    expect([await answers('chosen', { 'x-user-id': 'ada' }), await answers('chosen', { 'x-account': 'ada' })]).toEqual([YES, NO]);
    await route('user, header', 'x-account');
    expect([await answers('chosen', { 'x-user-id': 'ada' }), await answers('chosen', { 'x-account': 'ada' })]).toEqual([NO, YES]);
  });

  it('is the same by the API key where the routing says so, and for the tenant of the key', async () => {
    await route('api_key', 'x-user-id');
    expect([await answers('chosen', bearer), await answers('chosen', { ...bearer, 'x-user-id': 'nobody' })]).toEqual([YES, YES]);
    expect([await answers('team', bearer), await answers('team', {})]).toEqual([YES, NO]);
    await route('user, header', 'x-user-id');
    expect(await answers('chosen', bearer)).toEqual(NO);
  });

  it('has another ETag for another user of the header', async () => {
    const etag = async (user: string) => (await gateway.post('/ofrep/v1/evaluate/flags', {}, { headers: { 'x-user-id': user } })).headers.get('etag');
    expect(await etag('ada')).toBe(await etag('ada'));
    expect(await etag('ada')).not.toBe(await etag('bob'));
  });
});
