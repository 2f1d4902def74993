import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { estimatedRatio, logEValue, logEValues, logMean, logNotWorse, RATIOS } from './e-process.ts';

const share = fc.double({ min: 0.001, max: 0.999, noNaN: true });
const count = fc.nat(10_000);

/** The expectation of exp(log e) over the next event when it is the canary's with probability `p`. */
const expectation = (log: (canary: number, baseline: number) => number, p: number): number => p * Math.exp(log(1, 0)) + (1 - p) * Math.exp(log(0, 1));

describe('the e-process', () => {
  it('is fair while the canary is no worse, for every ratio: it grows by a factor of 1 on average', () => {
    fc.assert(
      fc.property(share, fc.constantFrom(...RATIOS), (w, ratio) => {
        expect(expectation((canary, baseline) => logEValue({ canary, baseline }, w, ratio), w)).toBeCloseTo(1, 9);
      }),
    );
  });

  it('turned round, is fair when the canary is worse by just the margin, and shrinks when it is worse by more', () => {
    fc.assert(
      fc.property(share, fc.double({ min: 1.1, max: 10, noNaN: true }), fc.double({ min: 1, max: 3, noNaN: true }), (w, margin, beyond) => {
        const at = (ratio: number): number => (w * ratio) / (w * ratio + 1 - w);
        const log = (canary: number, baseline: number): number => logNotWorse({ canary, baseline }, w, margin);
        expect(expectation(log, at(margin))).toBeCloseTo(1, 9);
        expect(expectation(log, at(margin * beyond))).toBeLessThanOrEqual(1 + 1e-9);
      }),
    );
  });

  it('needs only counts: replicas add theirs, in any order', () => {
    fc.assert(
      fc.property(share, count, count, count, count, (w, a, b, c, d) => {
        const sums = logEValues({ canary: a, baseline: b }, w).map((log, index) => log + (logEValues({ canary: c, baseline: d }, w)[index] ?? 0));
        logEValues({ canary: a + c, baseline: b + d }, w).forEach((log, index) => expect(log).toBeCloseTo(sums[index] ?? Number.NaN, 4));
      }),
    );
  });

  it('takes the mean without overflow', () => {
    expect(logMean([0, 0])).toBe(0);
    expect(logMean([5_000, 0])).toBeCloseTo(5_000 - Math.log(2), 9);
    expect(logMean([Number.NEGATIVE_INFINITY])).toBe(Number.NEGATIVE_INFINITY);
  });

  it('estimates how many times the rate is', () => {
    expect(estimatedRatio({ canary: 2, baseline: 9 }, 0.1)).toBeCloseTo(2, 9);
    expect(estimatedRatio({ canary: 2, baseline: 0 }, 0.1)).toBeUndefined();
  });
});
