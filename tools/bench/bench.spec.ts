import { describe, expect, it } from '@jest/globals';
import { lineOf, measure, resultOf } from './measure.ts';
import { median, pairedRatio, quantile, spread } from './statistics.ts';
import type { BenchCase } from './suite.ts';

const measured = (goal: BenchCase['goal'] | undefined, order: string[] = []): BenchCase => ({
  name: 'time to the first token',
  unit: 'ms',
  ours: async () => order.push('ours'),
  peer: async () => order.push('peer'),
  peerName: 'peer',
  ...(goal ? { goal } : {}),
});

describe('the statistics', () => {
  it('interpolate between samples, in any order', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(quantile([10, 20], 0.25)).toBe(12.5);
    expect(spread([1, 2, 3, 4, 5])).toEqual({ low: 2, high: 4 });
    expect(() => median([])).toThrow('There is no sample.');
  });

  it('compare within pairs, so that a machine that slows down does not count', () => {
    expect(pairedRatio([1, 10, 100], [2, 20, 200])).toBe(0.5);
    expect(() => pairedRatio([1], [])).toThrow('Every measurement needs its pair.');
  });
});

describe('a measurement', () => {
  it('takes turns, and changes who goes first', async () => {
    const order: string[] = [];
    await measure(measured({ of: 'ratio', most: 1 }, order), 2);
    expect(order).toEqual(['ours', 'peer', 'peer', 'ours']);
  });

  it('judges the goal by the ratio or by the value', () => {
    expect(resultOf(measured({ of: 'ratio', most: 0.5 }), [1], [2])).toMatchObject({ ours: 1, peer: 2, ratio: 0.5, holds: true });
    expect(resultOf(measured({ of: 'ratio', most: 0.4 }), [1], [2]).holds).toBe(false);
    expect(resultOf(measured({ of: 'value', most: 1 }), [1], [])).toMatchObject({ peer: null, ratio: null, holds: true });
    expect(resultOf(measured({ of: 'ratio', most: 1 }), [1], []).holds).toBe(false);
  });

  it('is shown with its spread and its goal', () => {
    expect(lineOf(resultOf(measured({ of: 'ratio', most: 1 }), [1, 2, 3], [2, 4, 6]))).toBe(
      '✓ time to the first token: ours 2.00 ms (1.50–2.50), peer 4.00 ms (3.00–5.00), ratio 0.50; goal: ratio at most 1',
    );
  });

  it('without a goal is a yardstick, which cannot fail', () => {
    const result = resultOf(measured(undefined), [3], [1]);
    expect(result).toMatchObject({ ratio: 3, goal: null, holds: true });
    expect(lineOf(result)).toBe('· time to the first token: ours 3.00 ms (3.00–3.00), peer 1.00 ms (1.00–1.00), ratio 3.00; a yardstick');
  });
});
