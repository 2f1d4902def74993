import { describe, expect, it } from '@jest/globals';
import { CounterSampler, TraceSampler } from './trace-sampler.ts';

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' };
const parent = (flags: string) => () => `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-${flags}`;
const taken = (sampler: TraceSampler, times: number): number => Array.from({ length: times }, () => sampler.takes(() => undefined)).filter(Boolean).length;

describe('CounterSampler', () => {
  it.each([[0, 0], [0.01, 10], [0.1, 100], [1, 1_000]])('of a share of %d takes %d of 1000', (share, expected) => {
    const sampler = new CounterSampler(share);
    expect(Array.from({ length: 1_000 }, () => sampler.takes()).filter(Boolean)).toHaveLength(expected);
  });
});

describe('TraceSampler', () => {
  it('takes nothing and reads no header while there is no receiver', () => {
    const read = () => {
      throw new Error('read');
    };
    expect(new TraceSampler({}).takes(read)).toBe(false);
    expect(new TraceSampler({ ...ENDPOINT, OTEL_SDK_DISABLED: 'true' }).takes(read)).toBe(false);
  });

  it('follows the caller, and draws where there is none', () => {
    const sampler = new TraceSampler({ ...ENDPOINT, OTEL_TRACES_SAMPLER_ARG: '0.5' });
    expect([sampler.takes(parent('01')), sampler.takes(parent('00')), sampler.takes(parent('03'))]).toEqual([true, false, true]);
    expect(taken(sampler, 100)).toBe(50);
    expect(sampler.takes(() => 'nonsense') || sampler.takes(() => 'nonsense')).toBe(true);
  });

  it.each([['always_on', 100], ['parentbased_always_off', 0], ['traceidratio', 1]])('%s takes %d of 100', (name, expected) => {
    expect(taken(new TraceSampler({ ...ENDPOINT, OTEL_TRACES_SAMPLER: name }), 100)).toBe(expected);
  });
});
