import { describe, expect, it } from '@jest/globals';
import { exceedsBlastRadius, excessOf } from './blast-radius.ts';
import { memorySlope } from './memory-slope.ts';
import { logRateAbove, logRateBelow } from './rate-test.ts';
import { logSampleRatioMismatch } from './sample-ratio.ts';

const SURE = Math.log(100);
const minutes = (count: number, megabytes: (minute: number) => number) => Array.from({ length: count }, (_, minute) => ({ atMs: minute * 60_000, megabytes: megabytes(minute) }));

describe('the slope of memory', () => {
  it('is the leak, whatever a single jump does', () => {
    const found = memorySlope(minutes(60, (minute) => 1_000 + minute + (minute === 30 ? 500 : 0) + (minute % 3)));
    expect(found?.slope).toBeCloseTo(60, 0);
    expect(found?.low).toBeGreaterThan(50);
    expect(found?.high).toBeLessThan(70);
  });

  it('has an interval that holds zero when memory only goes up and down', () => {
    const found = memorySlope(minutes(60, (minute) => 1_000 + 50 * Math.sin(minute)));
    expect(found?.low).toBeLessThan(0);
    expect(found?.high).toBeGreaterThan(0);
  });

  it('is not read from a few samples', () => {
    expect(memorySlope(minutes(9, (minute) => minute))).toBeUndefined();
    expect(memorySlope(Array.from({ length: 12 }, () => ({ atMs: 0, megabytes: 1 })))).toBeUndefined();
  });
});

describe('the test of a rate', () => {
  it('is sure of more exits than one in a thousand after a few, and not after one', () => {
    expect(logRateAbove({ events: 1, trials: 500 }, 0.001)).toBeLessThan(SURE);
    expect(logRateAbove({ events: 4, trials: 100 }, 0.001)).toBeGreaterThan(SURE);
  });

  it('is sure of fewer failures than a floor after enough requests', () => {
    expect(logRateBelow({ events: 0, trials: 100 }, 0.02)).toBeLessThan(SURE);
    expect(logRateBelow({ events: 0, trials: 500 }, 0.02)).toBeGreaterThan(SURE);
    expect(logRateBelow({ events: 10, trials: 500 }, 0.02)).toBeLessThan(0);
  });
});

describe('the sample ratio', () => {
  it('is right while units fall as the share says, in either direction wrong otherwise', () => {
    expect(logSampleRatioMismatch({ canary: 0, baseline: 0 }, 0.1)).toBeCloseTo(0, 9);
    expect(logSampleRatioMismatch({ canary: 100, baseline: 900 }, 0.1)).toBeLessThan(0);
    expect(logSampleRatioMismatch({ canary: 200, baseline: 800 }, 0.1)).toBeGreaterThan(SURE);
    expect(logSampleRatioMismatch({ canary: 30, baseline: 970 }, 0.1)).toBeGreaterThan(SURE);
  });
});

describe('the blast radius', () => {
  it('does not grow with traffic alone', () => {
    expect(exceedsBlastRadius(excessOf({ canary: 6_200, baseline: 54_000 }, 0.1), 100)).toBe(false);
    expect(exceedsBlastRadius(excessOf({ canary: 6_500, baseline: 54_000 }, 0.1), 100)).toBe(true);
  });
});
