import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Digest } from './digest.ts';
import { RollingDigest } from './rolling-digest.ts';
import { RollingSums } from './rolling-sums.ts';

function clock(start = 1_000_000): { now: () => number; advance: (milliseconds: number) => void } {
  let time = start;
  return { now: () => time, advance: (milliseconds) => (time += milliseconds) };
}

describe('RollingDigest', () => {
  it('has no percentile while it is empty, and again when all has left', () => {
    const { now, advance } = clock();
    const digest = new RollingDigest({ windowMs: 1_000, slots: 10, now });
    expect(digest.percentile(50)).toBeUndefined();
    digest.push(5);
    expect(digest.percentile(50)).toBe(5);
    advance(1_000);
    expect(digest.percentile(50)).toBeUndefined();
    expect(digest.count).toBe(0);
  });

  it('sees a sample that came after a read', () => {
    const { now } = clock();
    const digest = new RollingDigest({ windowMs: 1_000, now });
    digest.push(1);
    expect(digest.percentile(100)).toBe(1);
    digest.push(9);
    expect(digest.percentile(100)).toBe(9);
  });

  it('forgets every sample after the window, and none before all but one part of it', () => {
    const step = fc.record({ wait: fc.integer({ min: 0, max: 400 }), value: fc.integer({ min: 0, max: 1_000 }) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (steps) => {
        const { now, advance } = clock();
        const digest = new RollingDigest({ windowMs: 1_000, slots: 10, now });
        const pushed: { at: number; value: number }[] = [];
        for (const { wait, value } of steps) {
          advance(wait);
          digest.push(value);
          pushed.push({ at: now(), value });
          const certain = pushed.filter(({ at }) => at > now() - 900);
          const possible = pushed.filter(({ at }) => at > now() - 1_000);
          expect(digest.count).toBeGreaterThanOrEqual(certain.length);
          expect(digest.count).toBeLessThanOrEqual(possible.length);
          expect(possible.map((each) => each.value)).toContain(digest.percentile(100));
        }
      }),
    );
  });

  it('answers what a digest of the samples in its window would, whenever it was read before', () => {
    const step = fc.record({ wait: fc.integer({ min: 0, max: 400 }), value: fc.integer({ min: 1, max: 1_000 }), read: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), fc.constantFrom(50, 95, 99), (steps, p) => {
        const { now, advance } = clock();
        const digest = new RollingDigest({ windowMs: 1_000, slots: 10, now });
        const pushed: { slot: number; value: number }[] = [];
        for (const { wait, value, read } of steps) {
          advance(wait);
          digest.push(value);
          pushed.push({ slot: Math.floor(now() / 100), value });
          if (read) digest.percentile(p);
        }
        const fresh = new Digest();
        for (const { slot, value } of pushed) if (slot > Math.floor(now() / 100) - 10) fresh.push(value);
        expect(digest.percentile(p)).toBeCloseTo(fresh.percentile(p) as number, 6);
        expect(digest.count).toBe(fresh.count);
      }),
    );
  });

  it('keeps working when the clock goes back', () => {
    const { now, advance } = clock();
    const digest = new RollingDigest({ windowMs: 1_000, slots: 10, now });
    digest.push(1);
    advance(-5_000);
    digest.push(2);
    expect(digest.count).toBe(2);
    advance(6_000);
    expect(digest.count).toBe(0);
  });

  it('counts what it refused', () => {
    const digest = new RollingDigest({ windowMs: 1_000, now: clock().now });
    expect(digest.push(Number.NaN)).toBe(false);
    expect(digest.push(-1)).toBe(false);
    expect(digest.rejected).toBe(2);
    expect(digest.count).toBe(0);
  });

  it('says no to a window that makes no sense', () => {
    expect(() => new RollingDigest({ windowMs: 0, now: Date.now })).toThrow(RangeError);
    expect(() => new RollingDigest({ windowMs: 1, slots: 0, now: Date.now })).toThrow(RangeError);
    expect(() => new RollingDigest({ windowMs: 1, now: Date.now, compression: 1 })).toThrow(RangeError);
  });
});

describe('RollingSums', () => {
  it('adds up by name and forgets with the window', () => {
    const { now, advance } = clock();
    const sums = new RollingSums(['requests', 'tokens'], { windowMs: 1_000, slots: 2, now });
    sums.add('requests');
    sums.add('tokens', 12);
    advance(500);
    sums.add('requests');
    expect(sums.read()).toEqual({ requests: 2, tokens: 12 });
    advance(500);
    expect(sums.read()).toEqual({ requests: 1, tokens: 0 });
  });
});
