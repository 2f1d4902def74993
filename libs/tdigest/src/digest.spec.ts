import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Digest, MAX_SAMPLE } from './digest.ts';

/** From a millionth on an answer is off by half a bin at most; below, by the width of the first bin. */
const sample = fc.double({ min: 0, max: MAX_SAMPLE, noNaN: true });
const samplesOf = (maxLength: number, minLength = 0) => fc.array(fc.oneof(sample, fc.constantFrom(0, 1, 100), fc.double({ min: 1, max: 1e4, noNaN: true })), { minLength, maxLength, size: 'max' });
const percentile = fc.double({ min: 0, max: 100, noNaN: true });

function digestOf(samples: readonly number[], compression?: number): Digest {
  const digest = new Digest(compression);
  for (const value of samples) digest.push(value);
  return digest;
}

function nearestRank(samples: readonly number[], p: number): number {
  const rank = Math.max(1, Math.ceil((p / 100) * samples.length - 1e-9));
  return samples.toSorted((left, right) => left - right)[rank - 1] as number;
}

/** How far an answer is from the right one, as a share of it. */
function valueError(samples: readonly number[], digest: Digest, p: number): number {
  const right = nearestRank(samples, p);
  return Math.max(0, Math.abs((digest.percentile(p) as number) - right) - 2 ** -20) / Math.max(right, 1e-300);
}

/** Seeded, so that a failure can be seen again. */
function randomSource(seed: number): () => number {
  let state = seed;
  return () => ((state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0), (state + 1) / (2 ** 32 + 1));
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
}

describe('Digest', () => {
  it('has no percentile while it is empty', () => {
    expect(new Digest().percentile(95)).toBeUndefined();
  });

  it('answers the nearest rank of few samples exactly', () => {
    const digest = digestOf([50, 10, 40, 20, 30]);
    expect([0, 20, 21, 50, 95, 100].map((p) => digest.percentile(p))).toEqual([10, 10, 20, 30, 50, 50]);
  });

  it('is off by at most its bound on any input', () => {
    fc.assert(
      fc.property(samplesOf(1_000, 1), percentile, fc.constantFrom(20, 100, 1_000), (samples, p, compression) => {
        expect(valueError(samples, digestOf(samples, compression), p)).toBeLessThanOrEqual(1 / (2.56 * compression));
      }),
    );
  });

  const random = randomSource(7);
  const shapes: [string, (index: number) => number][] = [
    ['lognormal', () => 280 * Math.exp(0.5 * normal(random))],
    ['bimodal', () => (random() < 0.9 ? 300 + 30 * normal(random) : 2_000 + 200 * normal(random))],
    ['sorted', (index: number) => 1 + index / 100],
  ];
  it.each(shapes)('is off by at most half a hundredth at P95 and a hundredth at P99 of 100000 %s samples', (_, next) => {
    const samples = Array.from({ length: 100_000 }, (__, index) => next(index));
    const digest = digestOf(samples);
    expect(valueError(samples, digest, 95)).toBeLessThanOrEqual(0.005);
    expect(valueError(samples, digest, 99)).toBeLessThanOrEqual(0.01);
  });

  it('is not pulled away from a heap of equal samples by one that is far off', () => {
    const digest = digestOf([...Array.from({ length: 999 }, () => 5), 10_000]);
    expect(digest.percentile(95)).toBe(5);
    expect(digest.percentile(100)).toBe(10_000);
  });

  it('refuses hostile input, counts it, and is not changed by it', () => {
    const hostile = fc.oneof(
      fc.constantFrom<unknown>(Number.NaN, Infinity, -Infinity, -1, Number.MAX_VALUE, MAX_SAMPLE + 2, undefined, null, '5', [1, 2], {}),
      fc.double({ max: -Number.MIN_VALUE, noNaN: true }),
    );
    fc.assert(
      fc.property(samplesOf(50), fc.array(hostile, { minLength: 1, maxLength: 50 }), (samples, refused) => {
        const attacked = digestOf(samples);
        for (const value of refused) expect(attacked.push(value as number)).toBe(false);
        expect(attacked.rejected).toBe(refused.length);
        expect(attacked.keep()).toEqual(digestOf(samples).keep());
      }),
    );
  });

  it('takes a negative zero for a zero', () => {
    expect(digestOf([-0, 0, 0]).bins).toBeLessThanOrEqual(256);
  });

  it('merges to what the whole would be, in any order, however it was cut', () => {
    const cut = fc.array(samplesOf(200), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(cut, percentile, (parts, p) => {
        const whole = digestOf(parts.flat());
        for (const order of [parts, parts.toReversed()]) {
          const merged = new Digest();
          for (const part of order) merged.merge(digestOf(part));
          expect(merged.count).toBe(whole.count);
          expect(merged.percentile(p) ?? 0).toBeCloseTo(whole.percentile(p) ?? 0, -Math.log10(Math.max(1, (whole.percentile(p) ?? 1) * 1e-9)));
        }
      }),
    );
  });

  it('keeps the rank that was asked for among the samples that are as near to its answer as its bound says', () => {
    fc.assert(
      fc.property(samplesOf(1_000, 1), percentile, (samples, p) => {
        const answer = digestOf(samples).percentile(p) as number;
        const near = (value: number): boolean => Math.abs(value - answer) <= answer / 250 + 2 ** -20;
        const below = samples.filter((value) => value < answer && !near(value)).length;
        const upTo = samples.filter((value) => value <= answer || near(value)).length;
        const rank = Math.max(1, Math.ceil((p / 100) * samples.length - 1e-9));
        expect(rank).toBeGreaterThan(below);
        expect(rank).toBeLessThanOrEqual(upTo);
      }),
    );
  });

  it.each(shapes)('keeps the rank error of 20000 %s samples within a hundredth', (_, next) => {
    const samples = Array.from({ length: 20_000 }, (__, index) => next(index));
    const digest = digestOf(samples);
    for (const p of [1, 50, 90, 95, 99, 99.9]) {
      const answer = digest.percentile(p) as number;
      const [below, upTo] = [samples.filter((value) => value < answer).length, samples.filter((value) => value <= answer).length];
      expect(Math.max(0, below / samples.length - p / 100, p / 100 - upTo / samples.length)).toBeLessThanOrEqual(0.01);
    }
  });

  it('comes to the same in whatever order the samples come', () => {
    fc.assert(
      fc.property(samplesOf(300, 1), fc.infiniteStream(fc.nat()), percentile, (samples, places, p) => {
        const shuffled = samples.map((value) => ({ value, place: places.next().value as number })).sort((left, right) => left.place - right.place);
        const [answer, other] = [digestOf(samples), digestOf(shuffled.map(({ value }) => value))].map((digest) => digest.percentile(p) as number) as [number, number];
        expect(Math.abs(answer - other)).toBeLessThanOrEqual(1e-9 * answer);
      }),
    );
  });

  it('leaves the digest that it merges as it was', () => {
    const other = digestOf([1, 2, 3]);
    const before = other.keep();
    digestOf([1e6, 0.5]).merge(other);
    expect(other.keep()).toEqual(before);
  });

  it('comes back whole from what it keeps', () => {
    fc.assert(
      fc.property(samplesOf(300), (samples) => {
        const digest = digestOf(samples);
        const again = new Digest();
        again.mergeKept(JSON.parse(JSON.stringify(digest.keep())) as ReturnType<Digest['keep']>);
        expect(again.keep()).toEqual(digest.keep());
        expect(again.percentile(95)).toBe(digest.percentile(95));
      }),
    );
  });

  it.each([[[-1, 1, 1]], [[1e9, 1, 1]], [[0.5, 1, 1]], [[1, Number.NaN, 1]], [[1, 1]]])('says no to kept bins that are none: %j', (bins) => {
    expect(() => new Digest().mergeKept({ bits: 8, least: 0, greatest: 1, bins })).toThrow(RangeError);
  });

  it('counts the share above a value', () => {
    const digest = digestOf(Array.from({ length: 100 }, (_, index) => index + 1));
    expect(digest.shareAbove(90)).toBe(0.1);
    expect(digest.shareAbove(0)).toBe(1);
    expect(digest.shareAbove(100)).toBe(0);
    expect(new Digest().shareAbove(1)).toBe(0);
  });

  it('stays small whatever it is given', () => {
    fc.assert(fc.property(samplesOf(500), (samples) => expect(digestOf(samples).bins).toBeLessThanOrEqual(74 * 256)));
  });

  it('says no to a percentile, a compression or a partner that makes no sense', () => {
    expect(() => new Digest().percentile(101)).toThrow(RangeError);
    expect(() => new Digest().percentile(Number.NaN)).toThrow(RangeError);
    expect(() => new Digest(0)).toThrow(RangeError);
    expect(() => new Digest(20).merge(digestOf([1], 1_000))).toThrow(RangeError);
  });
});
