import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ClassMix, shedByClass } from './class-mix.ts';

const mixes = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 }).filter((mix) => mix.some((share) => share > 0.001));

describe('shedByClass', () => {
  it.each([
    [0.2, [0.5, 0.3, 0.2, 0], [0, 0, 1, 1]],
    [0.1, [0.5, 0.3, 0.2, 0], [0, 0, 0.5, 1]],
    [0.6, [0.5, 0.3, 0.2, 0], [0.2, 1, 1, 1]],
    [1, [0.5, 0.3, 0.2, 0], [1, 1, 1, 1]],
    [0, [0.5, 0.3, 0.1, 0.1], [0, 0, 0, 0]],
  ])('refuses %d of %j, the least urgent first', (share, mix, expected) => {
    shedByClass(share, mix).forEach((refused, at) => expect(refused).toBeCloseTo(expected[at] as number, 9));
  });

  it('refuses the share as a whole, and nobody before those below are refused', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), mixes, (share, mix) => {
        const refused = shedByClass(share, mix);
        const whole = mix.reduce((sum, each) => sum + each, 0);
        expect(refused.reduce((sum, each, at) => sum + each * (mix[at] as number), 0) / whole).toBeCloseTo(share, 6);
        refused.forEach((each, at) => {
          if (each > 1e-9) refused.slice(at + 1).forEach((below, offset) => expect((mix[at + 1 + offset] as number) === 0 || below > 1 - 1e-6).toBe(true));
        });
      }),
    );
  });
});

describe('ClassMix', () => {
  it('follows what arrives', () => {
    const mix = new ClassMix(2);
    for (let each = 0; each < 1_000; each++) mix.arrived(each % 4 === 0 ? 0 : 1);
    expect(mix.shares[0]).toBeCloseTo(0.25, 1);
    for (let each = 0; each < 1_000; each++) mix.arrived(0);
    expect(mix.shares[0]).toBeGreaterThan(0.99);
  });
});
