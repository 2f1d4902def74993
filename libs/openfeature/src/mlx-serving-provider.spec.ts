import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { compileFlags } from '@mlx-serving/evaluation';
import { flagConfig } from '@mlx-serving/policy';
import { type Client, OpenFeature } from '@openfeature/server-sdk';
import { MlxServingProvider } from './index.ts';

const config = (more: object) => flagConfig.parse({ enabled: true, ...more });
const whole = (payload: unknown) => ({ variants: [{ name: 'only', weight: 100, ...(payload === undefined ? {} : { payload }) }] });
const flags = {
  on: config({}),
  half: config({ rolloutPercentage: 50, whitelist: ['vip'] }),
  premium: config({ rules: [{ attribute: 'plan', operator: 'equals', value: 'premium' }] }),
  named: config(whole(undefined)),
  text: config(whole('hello')),
  number: config(whole(7)),
  object: config(whole({ colour: 'red' })),
  dark: config({ ...whole('hello'), enabled: false }),
};
let client: Client;

beforeAll(async () => {
  const source = compileFlags({ flags: Object.entries(flags).map(([name, value]) => ({ name, config: value, killed: false })), emergency: { killSwitch: false, rollbackToBaseline: false } });
  await OpenFeature.setProviderAndWait(new MlxServingProvider(source));
  client = OpenFeature.getClient();
});
afterAll(() => OpenFeature.close());

describe('the OpenFeature provider', () => {
  it('answers booleans with the reason in OpenFeature terms and in ours', async () => {
    expect(await client.getBooleanDetails('on', false)).toMatchObject({ value: true, reason: 'STATIC', flagMetadata: { reason: 'ROLLED_OUT' } });
    expect(await client.getBooleanDetails('half', false, { targetingKey: 'vip' })).toMatchObject({ value: true, reason: 'TARGETING_MATCH' });
    expect(await client.getBooleanDetails('premium', true, { targetingKey: 'u', plan: 'free' })).toMatchObject({ value: false, reason: 'DEFAULT' });
    expect(await client.getBooleanValue('premium', false, { plan: 'premium' })).toBe(true);
  });

  it("gives the caller's default with an error code for an unknown flag and a missing key", async () => {
    expect(await client.getBooleanDetails('nobody', true)).toMatchObject({ value: true, reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' });
    expect(await client.getBooleanDetails('half', true)).toMatchObject({ value: true, errorCode: 'TARGETING_KEY_MISSING' });
  });

  it('gives payloads of variants by their type', async () => {
    const context = { targetingKey: 'u' };
    expect(await client.getStringDetails('text', 'x', context)).toMatchObject({ value: 'hello', variant: 'only', reason: 'SPLIT' });
    expect(await client.getStringValue('named', 'x', context)).toBe('only');
    expect(await client.getNumberValue('number', 0, context)).toBe(7);
    expect(await client.getObjectValue('object', {}, context)).toEqual({ colour: 'red' });
    expect(await client.getStringDetails('dark', 'x', context)).toMatchObject({ value: 'x', reason: 'DISABLED' });
    expect(await client.getNumberDetails('text', 3, context)).toMatchObject({ value: 3, errorCode: 'TYPE_MISMATCH' });
  });
});
