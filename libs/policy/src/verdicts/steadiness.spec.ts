import { beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type KeptScales, Steadiness } from './steadiness.ts';

describe('Steadiness', () => {
  let steadiness: Steadiness;
  beforeEach(() => {
    steadiness = new Steadiness(1, 0.5, 1_000);
  });
  /** One block with so many events of each. */
  const block = (index: number, canary: number, baseline: number): void => {
    steadiness.turn(index * 1_000);
    for (let event = 0; event < canary; event++) steadiness.add(0, true);
    for (let event = 0; event < baseline; event++) steadiness.add(0, false);
  };

  it('does not take one spell, however bad, for steady', () => {
    for (let index = 0; index < 10; index++) block(index, index === 5 ? 1_000 : 0, 0);
    expect(steadiness.isSteady(0)).toBe(false);
  });

  it('takes what is a little worse in each of three blocks for steady, and not in two', () => {
    block(0, 5, 2);
    block(1, 5, 2);
    expect(steadiness.isSteady(0)).toBe(false);
    block(2, 5, 2);
    expect(steadiness.isSteady(0)).toBe(true);
  });

  it('does not take a spell of several blocks for steady, once there are long blocks', () => {
    for (let index = 0; index < 30; index++) block(index, index >= 18 && index < 23 ? 50 : 1, 1);
    expect(steadiness.isSteady(0)).toBe(false);
  });

  it('asks nothing where time plays no part', () => {
    steadiness.add(0, true);
    expect(steadiness.isSteady(0)).toBe(true);
  });

  it('is never steady while the baseline has as many events for its share', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 60 }), (counts) => {
        steadiness = new Steadiness(1, 0.5, 1_000);
        counts.forEach((count, index) => block(index, count, count));
        expect(steadiness.isSteady(0)).toBe(false);
      }),
    );
  });

  it('goes on from what was kept, and begins a block when the clock is set back', () => {
    block(10, 5, 2);
    block(11, 5, 2);
    steadiness = new Steadiness(1, 0.5, 1_000, JSON.parse(JSON.stringify(steadiness.keep())) as KeptScales);
    block(12, 0, 0);
    block(3, 5, 2);
    expect(steadiness.isSteady(0)).toBe(true);
  });
});
