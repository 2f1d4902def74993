import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { GenerationRequest } from '../generation/generation-types.ts';
import { chooseLeastLoaded, drawsOf, isOverloaded } from './choose-member.ts';
import { promptShape } from './prefix-keys.ts';
import { PrefixOwners } from './prefix-owners.ts';

const request = (text: string, more: Partial<GenerationRequest> = {}): GenerationRequest => ({
  requestId: 'r',
  route: 'chat',
  model: 'm',
  input: { case: 'prompt', value: text },
  sampling: {},
  user: undefined,
  arrivedAt: 0,
  ...more,
});
const keysOf = (text: string, more?: Partial<GenerationRequest>): readonly number[] => promptShape(request(text, more)).keys;

describe('promptShape', () => {
  it('has a key for each boundary that two prompts share, and no other', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 600 }), fc.string({ minLength: 1, maxLength: 50 }), fc.string({ minLength: 1, maxLength: 50 }), (common, one, two) => {
        const shared = [64, 256].filter((length) => length <= common.length).length;
        const [first, second] = [keysOf(common + one), keysOf(common + two)];
        expect(first.slice(0, shared)).toEqual(second.slice(0, shared));
      }),
    );
  });

  it('keeps models and tenants apart, and reads a bounded part of a prompt', () => {
    const text = 'x'.repeat(100);
    expect(new Set([keysOf(text), keysOf(text, { tenant: 'a' }), keysOf(text, { model: 'n' })].flat()).size).toBe(6);
    expect(keysOf('y'.repeat(1_000_000))).toHaveLength(4);
    expect(promptShape(request('y'.repeat(400), { sampling: { maxTokens: 10 } })).cost).toBe(110);
    expect(promptShape(request('y'.repeat(400), { sampling: { maxTokens: 2 ** 32 - 1 } })).cost).toBe(1_000_100);
  });
});

describe('PrefixOwners', () => {
  const everyone = (): boolean => true;

  it('finds who has the longest prefix, and forgets the least recently used beyond its bound', () => {
    const owners = new PrefixOwners<string>(() => 4);
    owners.claim([1, 2, 3], 'a', everyone);
    owners.claim([1, 2, 9], 'b', everyone);
    expect([owners.find([1, 2, 9, 7], everyone), owners.find([1, 2], everyone), owners.find([8], everyone)]).toEqual(['b', 'a', undefined]);
    owners.claim([5, 6], 'c', everyone);
    expect(owners.size).toBe(4);
    expect(owners.find([3], everyone)).toBeUndefined();
  });

  it('gives what somebody had who is gone to the next who comes for it', () => {
    const owners = new PrefixOwners<string>(() => 100);
    owners.claim([1, 2], 'gone', everyone);
    const isUsable = (owner: string): boolean => owner !== 'gone';
    expect(owners.find([1, 2], isUsable)).toBeUndefined();
    owners.claim([1, 2], 'b', isUsable);
    expect(owners.find([1, 2], everyone)).toBe('b');
    owners.forget('b');
    expect(owners.size).toBe(0);
  });
});

describe('chooseLeastLoaded', () => {
  const loads = fc.array(fc.record({ load: fc.nat(10_000) }), { minLength: 1, maxLength: 12 });

  it('never takes the one with the most to do when there is another choice, and always the least of up to three', () => {
    fc.assert(
      fc.property(loads, fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })), (candidates, draws) => {
        const chosen = chooseLeastLoaded(candidates, () => draws.next().value as number)!;
        const sorted = candidates.map(({ load }) => load).sort((a, b) => a - b);
        expect(candidates).toContain(chosen);
        if (candidates.length <= 3) expect(chosen.load).toBe(sorted[0]);
        else expect(chosen.load).toBeLessThanOrEqual(sorted.at(-2) as number);
      }),
    );
  });

  it('finds nobody among nobody', () => {
    expect(chooseLeastLoaded([], Math.random)).toBeUndefined();
  });

  it('keeps the share of the most loaded of many workers near the mean', () => {
    const workers = Array.from({ length: 10 }, () => ({ load: 0 }));
    let seed = 1;
    const draw = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    for (let request = 0; request < 10_000; request++) chooseLeastLoaded(workers, draw)!.load++;
    expect(Math.max(...workers.map(({ load }) => load))).toBeLessThan(1_010);
  });
});

describe('isOverloaded', () => {
  it('says so only beyond the factor and the slack', () => {
    const others = [{ load: 1_000 }, { load: 3_500 }, { load: 3_501 }];
    expect(others.map((worker) => isOverloaded(worker, others, 1.5, 2_000))).toEqual([false, false, true]);
  });
});

describe('drawsOf', () => {
  it('has everybody choose alike for a prefix, and spreads different ones evenly', () => {
    const workers = Array.from({ length: 5 }, (_, id) => ({ id, load: 0 }));
    const chosen = Array.from({ length: 2_000 }, (_, at) => {
      const [key = 0] = keysOf(`prefix ${at}`);
      const [one, other] = [chooseLeastLoaded(workers, drawsOf(key)), chooseLeastLoaded(workers, drawsOf(key))];
      expect(one).toBe(other);
      return one!.id;
    });
    const counts = workers.map(({ id }) => chosen.filter((one) => one === id).length);
    expect(Math.min(...counts)).toBeGreaterThan(300);
  });
});
