import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { percentage } from './percentage.ts';

describe('percentage', () => {
  it.each([0, 100, 0.001, 99.999, 12.345, 33.333, 0.1, 0.3, 57.3, 1.005])('takes %p', (value) => {
    expect(percentage.safeParse(value).success).toBe(true);
  });

  it.each([-0.001, 100.001, 0.0001, 33.3333, 99.9999, Number.NaN, Infinity, '50', null])('refuses %p, and rounds nothing silently', (value) => {
    expect(percentage.safeParse(value).success).toBe(false);
  });

  it('takes every step of a thousandth, as it is written in decimals', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 100_000 }), (step) => percentage.safeParse(Number((step / 1000).toFixed(3))).success));
  });

  it('refuses whatever lies between two steps', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 99_999 }), fc.integer({ min: 1, max: 9 }), (step, tenth) => !percentage.safeParse(Number(`${(step / 1000).toFixed(3)}${tenth}`)).success));
  });
});
