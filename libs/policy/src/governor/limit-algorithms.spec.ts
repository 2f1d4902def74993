import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FixedLimit } from './fixed-limit.ts';
import { GradientLimit } from './gradient-limit.ts';
import type { LimitAlgorithm, LimitBounds } from './limit-algorithm.ts';
import { MemoryCeiling } from './memory-ceiling.ts';
import { PidLimit } from './pid-limit.ts';

const bounds: LimitBounds = { least: 2, greatest: 64 };
const algorithms: [string, (bounds: LimitBounds, start?: number) => LimitAlgorithm][] = [
  ['FixedLimit', (of, start) => new FixedLimit(of, start)],
  ['GradientLimit', (of, start) => new GradientLimit(of, start)],
  ['PidLimit', (of, start) => new PidLimit(of, { targetMs: 400 }, start)],
];

/** A worker that takes longer the more it has to do at a time; all places are taken. */
function load(algorithm: LimitAlgorithm, rounds: number, serviceMs: (inflight: number) => number, startMs = 0): number[] {
  const limits: number[] = [];
  for (let round = 0; round < rounds; round++) {
    algorithm.observe({ serviceMs: serviceMs(algorithm.limit), inflight: algorithm.limit, nowMs: startMs + round * 50 });
    limits.push(algorithm.limit);
  }
  return limits;
}

describe.each(algorithms)('%s', (_, create) => {
  it('stays a whole number within its bounds, whatever it is told', () => {
    const samples = fc.array(fc.tuple(fc.oneof(fc.double(), fc.double({ min: 0, max: 1e5, noNaN: true })), fc.nat({ max: 200 }), fc.nat({ max: 1_000 })), { maxLength: 100 });
    const changes = fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 200 })), { maxLength: 5 });
    fc.assert(
      fc.property(samples, changes, (observed, ranges) => {
        const algorithm = create(bounds);
        let [nowMs, held] = [0, bounds];
        observed.forEach(([serviceMs, inflight, step], at) => {
          const range = ranges[Math.floor(at / 20)];
          if (at % 20 === 10 && range) algorithm.setBounds((held = { least: range[0], greatest: Math.max(range[0], range[1]) }));
          algorithm.observe({ serviceMs, inflight, nowMs: (nowMs += step) });
          expect(Number.isInteger(algorithm.limit)).toBe(true);
          expect(algorithm.limit).toBeGreaterThanOrEqual(held.least);
          expect(algorithm.limit).toBeLessThanOrEqual(held.greatest);
        });
      }),
    );
  });

  it('begins where the one before it was, and moves in steps', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 64 }), (start) => {
        const algorithm = create(bounds, start);
        expect(algorithm.limit).toBe(start);
        let before = start;
        for (const limit of load(algorithm, 200, () => 100)) {
          expect(Math.abs(limit - before)).toBeLessThanOrEqual(7);
          before = limit;
        }
      }),
    );
  });

  it('never goes above a ceiling that has come down', () => {
    const algorithm = create(bounds);
    algorithm.setBounds({ least: 2, greatest: 5 });
    expect(Math.max(algorithm.limit, ...load(algorithm, 100, () => 1))).toBeLessThanOrEqual(5);
  });
});

describe('GradientLimit', () => {
  it('comes down when times grow with the limit, and goes up again when they do not', () => {
    const limit = new GradientLimit(bounds, 8);
    const jam = (inflight: number): number => (inflight <= 12 ? 100 : 100 * (inflight / 12) ** 2);
    const jammed = load(limit, 300, jam).slice(-100);
    expect(Math.max(...jammed)).toBeLessThan(40);
    expect(load(limit, 200, () => 100).at(-1)).toBe(64);
  });

  it('learns nothing from a limit that is not reached', () => {
    const limit = new GradientLimit(bounds, 20);
    for (let each = 0; each < 100; each++) limit.observe({ serviceMs: 100, inflight: 3, nowMs: each });
    expect(limit.limit).toBe(20);
  });
});

describe('PidLimit', () => {
  it('finds the limit at which the target holds', () => {
    const limit = new PidLimit(bounds, { targetMs: 400 }, 64);
    const found = load(limit, 4_000, (inflight) => inflight * 20).slice(-500);
    for (const each of found) expect(each * 20).toBeGreaterThan(300);
    for (const each of found) expect(each * 20).toBeLessThan(500);
  });

  it('leaves a bound as soon as the error turns, however long it was pushed against it', () => {
    const limit = new PidLimit(bounds, { targetMs: 400 }, 64);
    expect(load(limit, 10_000, () => 10).at(-1)).toBe(64);
    expect(load(limit, 60, () => 4_000, 500_000).at(-1)).toBeLessThan(50);
  });
});

describe('MemoryCeiling', () => {
  it('learns what a request takes, and divides what there is by it', () => {
    const ceiling = new MemoryCeiling();
    expect(ceiling.value).toBe(Number.POSITIVE_INFINITY);
    const [limitBytes, idle, each] = [1_000e6, 100e6, 10e6];
    ceiling.observe({ activeBytes: idle, runningRequests: 0, limitBytes });
    ceiling.observe({ activeBytes: idle + 4 * each, runningRequests: 4, limitBytes });
    expect(ceiling.value).toBe(80);
    ceiling.observe({ activeBytes: idle + 4 * each, runningRequests: 4, limitBytes: 0 });
    expect(ceiling.value).toBe(Number.POSITIVE_INFINITY);
  });

  it('never says less than one', () => {
    const ceiling = new MemoryCeiling();
    ceiling.observe({ activeBytes: 990e6, runningRequests: 0, limitBytes: 1_000e6 });
    ceiling.observe({ activeBytes: 999e6, runningRequests: 1, limitBytes: 1_000e6 });
    expect(ceiling.value).toBe(1);
  });
});
