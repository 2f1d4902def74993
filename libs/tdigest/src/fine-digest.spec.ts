import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_SAMPLE } from './digest.ts';
import { FineDigest } from './fine-digest.ts';

const sample = fc.double({ min: 0, max: 1e6, noNaN: true });
const percentile = fc.double({ min: 0, max: 100, noNaN: true });

/** How far, as a share of all samples, an answer is from the rank that was asked for. */
function rankError(samples: readonly number[], answer: number, p: number): number {
  const below = samples.filter((value) => value < answer).length / samples.length;
  const upTo = samples.filter((value) => value <= answer).length / samples.length;
  return Math.max(0, below - p / 100, p / 100 - upTo);
}

describe('FineDigest', () => {
  it('has no percentile while it is empty', () => {
    expect(new FineDigest().percentile(95)).toBeUndefined();
  });

  it('answers the nearest rank of few samples exactly', () => {
    const digest = new FineDigest();
    for (const value of [50, 10, 40, 20, 30]) digest.push(value);
    expect([0, 20, 21, 50, 95, 100].map((p) => digest.percentile(p))).toEqual([10, 10, 20, 30, 50, 50]);
  });

  it('keeps the rank error of any input within two hundredths', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(sample, fc.constantFrom(0, 1, 100)), { minLength: 1, maxLength: 3000, size: 'max' }), percentile, (samples, p) => {
        const digest = new FineDigest();
        for (const value of samples) digest.push(value);
        const answer = digest.percentile(p) as number;
        // A single sample is a share of its own, so a short list cannot be nearer than that.
        expect(rankError(samples, answer, p)).toBeLessThanOrEqual(0.02 + 1 / samples.length);
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    ['rising', (index: number) => index],
    ['falling', (index: number) => 20_000 - index],
    ['skewed', (index: number) => 10 ** ((index * 7919) % 20_000 / 4_000)],
    ['two heaps', (index: number) => (index % 20 === 0 ? 900 + (index % 7) : 100)],
  ])('keeps the rank error of 20000 %s samples within a hundredth', (_, value) => {
    const samples = Array.from({ length: 20_000 }, (__, index) => value(index));
    const digest = new FineDigest();
    for (const each of samples) digest.push(each);
    for (const p of [1, 50, 90, 95, 99, 99.9]) expect(rankError(samples, digest.percentile(p) as number, p)).toBeLessThanOrEqual(0.01);
  });

  it('is not pulled away from a heap of equal samples by one that is far off', () => {
    const digest = new FineDigest();
    for (let index = 0; index < 999; index++) digest.push(5);
    digest.push(10_000);
    expect(digest.percentile(95)).toBe(5);
    expect(digest.percentile(100)).toBe(10_000);
  });

  it('refuses hostile input, counts it, and is not changed by it', () => {
    const hostile = fc.oneof(
      fc.constantFrom<unknown>(Number.NaN, Infinity, -Infinity, -1, Number.MAX_VALUE, MAX_SAMPLE + 2, undefined, null, '5', [1, 2], {}),
      fc.double({ max: -Number.MIN_VALUE, noNaN: true }),
    );
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 50 }), fc.array(hostile, { minLength: 1, maxLength: 50 }), (samples, refused) => {
        const clean = new FineDigest();
        const attacked = new FineDigest();
        for (const value of samples) clean.push(value);
        for (const value of samples) attacked.push(value);
        for (const value of refused) expect(attacked.push(value as number)).toBe(false);
        expect(attacked.rejected).toBe(refused.length);
        expect(attacked.count).toBe(samples.length);
        for (const p of [0, 50, 95, 100]) expect(attacked.percentile(p)).toBe(clean.percentile(p));
      }),
    );
  });

  it('answers within the range of its samples, whatever their size', () => {
    const extreme = fc.double({ min: 0, max: MAX_SAMPLE, noNaN: true });
    fc.assert(
      fc.property(fc.array(extreme, { minLength: 1, maxLength: 500, size: 'max' }), percentile, (samples, p) => {
        const digest = new FineDigest();
        for (const value of samples) expect(digest.push(value)).toBe(true);
        const answer = digest.percentile(p) as number;
        expect(answer).toBeGreaterThanOrEqual(Math.min(...samples));
        expect(answer).toBeLessThanOrEqual(Math.max(...samples));
      }),
    );
  });

  it('merges without losing a sample or changing the other', () => {
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 300 }), fc.array(sample, { minLength: 1, maxLength: 300 }), percentile, (left, right, p) => {
        const merged = new FineDigest();
        const other = new FineDigest();
        for (const value of left) merged.push(value);
        for (const value of right) other.push(value);
        const before = other.percentile(p);
        merged.merge(other);
        const both = [...left, ...right];
        expect(merged.count).toBe(both.length);
        expect(other.percentile(p)).toBe(before);
        expect(rankError(both, merged.percentile(p) as number, p)).toBeLessThanOrEqual(0.02 + 1 / both.length);
      }),
    );
  });

  it('keeps to its rank error in whatever order the samples come', () => {
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 500 }), percentile, (samples, p) => {
        for (const ordered of [samples, samples.toReversed(), samples.toSorted((left, right) => left - right)]) {
          const digest = new FineDigest();
          for (const value of ordered) digest.push(value);
          expect(rankError(samples, digest.percentile(p) as number, p)).toBeLessThanOrEqual(0.02 + 1 / samples.length);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('stays small under 50000 different samples', () => {
    const digest = new FineDigest(100);
    for (let index = 0; index < 50_000; index++) digest.push(index);
    expect(digest.centroids).toBeLessThanOrEqual(1_001);
  });

  it('answers the same when it is given the same', () => {
    const answers = [1, 2].map(() => {
      const digest = new FineDigest(20);
      for (let index = 0; index < 20_000; index++) digest.push((index * 7919) % 10_007);
      return [1, 50, 95, 99.9].map((p) => digest.percentile(p));
    });
    expect(answers[1]).toEqual(answers[0]);
  });

  it('says no to a percentile or a compression that makes no sense', () => {
    expect(() => new FineDigest().percentile(101)).toThrow(RangeError);
    expect(() => new FineDigest().percentile(Number.NaN)).toThrow(RangeError);
    expect(() => new FineDigest(0)).toThrow(RangeError);
  });
});
