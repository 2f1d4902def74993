import { describe, expect, it } from '@jest/globals';
import { flagVariants, variantCuts } from './flag-variant.ts';

const variants = (...weights: number[]) => weights.map((weight, index) => ({ name: `v${index}`, weight }));
const problem = (value: unknown): string | undefined => flagVariants.safeParse(value).error?.issues[0]?.message;

describe('flagVariants (F6)', () => {
  it('takes whole weights that add up to 100, or to 1000, 10000 or 100000, with any JSON as payload', () => {
    expect(problem([{ name: 'a', weight: 50, payload: { colour: ['red', null] } }, { name: 'b', weight: 50 }])).toBeUndefined();
    for (const total of [1_000, 10_000, 100_000]) expect(problem(variants(1, total - 1))).toBeUndefined();
    expect(problem([])).toBeUndefined();
  });

  it('refuses weights that leave a part of the line to nobody, parts of a weight, and names that are there twice', () => {
    expect(problem(variants(50, 49))).toMatch('must add up to 100');
    expect(problem(variants(0.5, 99.5))).toBeDefined();
    expect(problem(variants(-1, 101))).toBeDefined();
    expect(problem([...variants(50), ...variants(50)])).toBe('There are two variants v0.');
  });
});

describe('variantCuts', () => {
  it('cuts the line at the same places, whatever the weights add up to', () => {
    expect(variantCuts(variants(10, 40, 50))).toEqual([10_000, 50_000, 100_000]);
    expect(variantCuts(variants(100, 400, 500))).toEqual([10_000, 50_000, 100_000]);
    expect(variantCuts(variants(1, 99_999))).toEqual([1, 100_000]);
  });
});
