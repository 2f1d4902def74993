import { beforeEach, describe, expect, it } from '@jest/globals';
import { BaselineSample } from './baseline-sample.ts';
import { Evidence } from './evidence.ts';
import type { KeptEvidence } from './kept-evidence.ts';

const unit = (index: number): string => index.toString(16).padStart(8, '0').repeat(2);

describe('Evidence', () => {
  let baseline: BaselineSample;
  let evidence: Evidence;
  const observe = (canary: boolean, latency: number, more: { failed?: boolean; unit?: string } = {}): void =>
    evidence.observe({ canary, failed: more.failed ?? false, unit: more.unit, values: [latency] });

  beforeEach(() => {
    baseline = new BaselineSample();
    for (let value = 1; value <= 100; value++) baseline.add([value]);
    evidence = new Evidence(0.1, baseline);
  });

  it('counts a latency beyond the quantiles that the baseline had before', () => {
    for (const latency of [50, 51, 91, 96, 100]) observe(true, latency);
    expect([0, 1, 2, 3].map((quantile) => evidence.counts(0, quantile).canary)).toEqual([4, 3, 2, 1]);
    expect(evidence.requests).toEqual({ canary: 5, baseline: 0 });
  });

  it('fixes the quantiles once: what it judges never moves them', () => {
    for (let index = 0; index < 1_000; index++) observe(false, 10_000);
    expect(evidence.counts(0, 3).baseline).toBe(1_000);
  });

  it('fixes them late when the baseline is not known yet, and counts no tail before', () => {
    evidence = new Evidence(0.1, new BaselineSample());
    for (let value = 1; value <= 99; value++) observe(false, value);
    observe(true, 1_000);
    observe(false, 100);
    expect(evidence.counts(0, 0)).toEqual({ canary: 0, baseline: 0 });
    observe(true, 1_000);
    expect(evidence.counts(0, 0)).toEqual({ canary: 1, baseline: 0 });
  });

  it('takes of a request without an end that it took so long at least, and never for what the baseline usually takes', () => {
    evidence.observe({ canary: true, failed: false, unfinished: true, values: [200] });
    evidence.observe({ canary: true, failed: false, unfinished: true, values: [1] });
    for (let index = 0; index < 1_000; index++) evidence.observe({ canary: false, failed: false, unfinished: true, values: [10_000] });
    expect(evidence.counts(0, 3)).toEqual({ canary: 1, baseline: 1_000 });
    expect([evidence.units, evidence.finished]).toEqual([{ canary: 2, baseline: 1_000 }, { canary: 0, baseline: 0 }]);
    expect(evidence.first.count).toBe(0);
    expect(evidence.next(0.5).keep().thresholds[0]?.[3]).toBe(99);
  });

  it('divides the canary by the margin for promotion, and only the canary', () => {
    observe(true, 75);
    observe(true, 76);
    observe(false, 75);
    expect(evidence.countsAtMargin(0)).toEqual({ canary: 1, baseline: 1 });
  });

  it('counts answers that are empty, cut, in a loop or ended otherwise', () => {
    for (const kind of ['empty', 'cut', 'repeated', 'otherFinish'] as const) evidence.observe({ canary: true, failed: false, values: [1], [kind]: true });
    evidence.observe({ canary: false, failed: false, values: [1] });
    expect([1, 2, 3, 4].map((event) => evidence.counts(event))).toEqual([1, 2, 3, 4].map(() => ({ canary: 1, baseline: 0 })));
  });

  it('divides the canary by a floor, to tell whether the effect is large enough', () => {
    evidence = new Evidence(0.1, baseline, undefined, { floors: [2] });
    for (const latency of [99, 101, 199]) observe(true, latency);
    expect([0, 1].map((quantile) => evidence.countAtFloor(0, quantile))).toEqual([2, 1]);
  });

  it('leaves out what an older version kept', () => {
    const old = { ...evidence.keep(), events: [[1, 1]] } as KeptEvidence;
    expect(new Evidence(0.3, baseline, old).share).toBe(0.3);
  });

  it('counts a unit once for each kind of event, over all stages', () => {
    observe(true, 1, { failed: true, unit: unit(1) });
    observe(true, 1, { failed: true, unit: unit(1) });
    observe(true, 1, { failed: true, unit: unit(2) });
    observe(true, 100, { unit: unit(1) });
    expect(evidence.counts(0)).toEqual({ canary: 2, baseline: 0 });
    expect(evidence.counts(0, 0)).toEqual({ canary: 1, baseline: 0 });
    expect(evidence.units).toEqual({ canary: 2, baseline: 0 });
    evidence = evidence.next(0.5);
    observe(true, 1, { failed: true, unit: unit(1) });
    expect(evidence.counts(0)).toEqual({ canary: 0, baseline: 0 });
  });

  it('carries on over stages by multiplying, each with its own share', () => {
    observe(true, 1, { failed: true });
    const before = evidence.logEValues(0);
    evidence = evidence.next(0.5);
    expect(evidence.logEValues(0)).toEqual(before);
    expect(evidence.requests.canary).toBe(0);
    observe(true, 1, { failed: true });
    evidence.logEValues(0).forEach((log, index) => expect(log).toBeGreaterThan(before[index] ?? 0));
  });

  it('goes on from what was kept as if it had never stopped', () => {
    const twin = (): Evidence => new Evidence(0.1, baseline, JSON.parse(JSON.stringify(evidence.keep())) as KeptEvidence);
    for (let index = 0; index < 300; index++) {
      observe(index % 7 === 0, (index * 37) % 120, { failed: index % 11 === 0, unit: unit(index % 50) });
      if (index % 29 === 0) evidence = twin();
    }
    const straight = new Evidence(0.1, new BaselineSample(), { ...new Evidence(0.1, baseline).keep(), thresholds: evidence.keep().thresholds });
    for (let index = 0; index < 300; index++) {
      straight.observe({ canary: index % 7 === 0, failed: index % 11 === 0, unit: unit(index % 50), values: [(index * 37) % 120] });
    }
    expect(evidence.keep()).toEqual(straight.keep());
  });

  it('keeps no filter while each request is a unit', () => {
    observe(true, 1);
    expect(evidence.keep().filter).toBe('');
  });
});
