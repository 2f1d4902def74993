import { describe, expect, it } from '@jest/globals';
import { BaselineSample } from './baseline-sample.ts';
import { Evidence } from './evidence.ts';
import { judge, type JudgeSettings } from './judge.ts';

const settings: JudgeSettings = {
  triggers: [
    { name: 'high_error_rate', threshold: 2 },
    { name: 'high_latency', threshold: 1.5 },
  ],
};

function evidenceOf(requests: { canary: boolean; failed?: boolean; latency?: number; times?: number }[], share = 0.5): Evidence {
  const baseline = new BaselineSample();
  for (let value = 1; value <= 100; value++) baseline.add([value]);
  const evidence = new Evidence(share, baseline);
  const most = Math.max(...requests.map(({ times = 1 }) => times));
  for (let index = 0; index < most; index++) {
    for (const { canary, failed = false, latency = 10, times = 1 } of requests) {
      // In turn, as they would come.
      if (Math.ceil((index * times) / most) !== Math.ceil(((index + 1) * times) / most)) evidence.observe({ canary, failed, values: failed ? [] : [latency] });
    }
  }
  return evidence;
}

const fired = (evidence: Evidence): string[] => judge(evidence, settings).findings.flatMap(({ name, fired: has }) => (has ? [name] : []));

describe('judge', () => {
  it('says nothing of a canary without evidence', () => {
    expect(judge(evidenceOf([]), settings)).toMatchObject({ failedAtOnce: false, blastRadiusExceeded: false, sampleRatioMismatch: false, notWorse: false, promotionProgress: 0 });
    expect(fired(evidenceOf([]))).toEqual([]);
  });

  it('blames a canary for errors only when they are surely more', () => {
    expect(fired(evidenceOf([{ canary: true, failed: true }, { canary: true, times: 50 }, { canary: false, times: 50 }]))).toEqual([]);
    expect(fired(evidenceOf([{ canary: true, failed: true, times: 20 }, { canary: true, times: 30 }, { canary: false, times: 50 }]))).toEqual(['high_error_rate']);
  });

  it('blames a canary for slowness, and names the ratio', () => {
    const evidence = evidenceOf([{ canary: true, latency: 200, times: 30 }, { canary: false, latency: 60, times: 30 }]);
    expect(fired(evidence)).toEqual(['high_latency']);
    expect(judge(evidence, settings).findings[1]).toMatchObject({ name: 'high_latency', ratio: undefined, progress: 1 });
  });

  it('does not fire for an effect that is surely smaller than the threshold', () => {
    const finding = judge(evidenceOf([{ canary: true, failed: true, times: 1_300 }, { canary: true, times: 8_700 }, { canary: false, failed: true, times: 1_000 }, { canary: false, times: 9_000 }]), settings).findings[0];
    expect(finding).toMatchObject({ name: 'high_error_rate', fired: false, slight: true, progress: 1 });
  });

  it('stops at once when the first ten all failed', () => {
    expect(judge(evidenceOf([{ canary: true, failed: true, times: 9 }]), settings).failedAtOnce).toBe(false);
    expect(judge(evidenceOf([{ canary: true, failed: true, times: 10 }]), settings).failedAtOnce).toBe(true);
    expect(judge(evidenceOf([{ canary: true, times: 2 }, { canary: true, failed: true, times: 20 }]), settings).failedAtOnce).toBe(false);
  });

  it('does not promote a canary that hangs until its clients go away, and finds it slow', () => {
    const baseline = new BaselineSample();
    for (let value = 1; value <= 100; value++) baseline.add([value]);
    const evidence = new Evidence(0.5, baseline);
    for (let index = 0; index < 600; index++) {
      evidence.observe({ canary: true, failed: false, unfinished: true, values: [400] });
      evidence.observe({ canary: false, failed: false, values: [1 + (index % 100)] });
      if (index === 0) expect(judge(evidence, settings).notWorse).toBe(false);
    }
    expect(judge(evidence, settings)).toMatchObject({ notWorse: false, failedAtOnce: false });
    expect(fired(evidence)).toEqual(['high_latency']);
  });

  it('knows nothing of failures from requests without an end', () => {
    const baseline = new BaselineSample();
    for (let value = 1; value <= 100; value++) baseline.add([value]);
    const evidence = new Evidence(0.5, baseline);
    for (let index = 0; index < 2_000; index++) {
      evidence.observe({ canary: true, failed: false, unfinished: true, values: [] });
      evidence.observe({ canary: false, failed: false, values: [1 + (index % 100)] });
    }
    expect(judge(evidence, settings).promotionProgress).toBe(0);
  });

  it('promotes on evidence that the canary is not slower by the margin and does not fail more', () => {
    const spread = (canary: boolean) => [20, 40, 60, 80, 97].map((latency) => ({ canary, latency, times: 80 }));
    expect(judge(evidenceOf([...spread(true), ...spread(false)]), settings)).toMatchObject({ notWorse: true, promotionProgress: 1 });
    const slower = [20, 40, 60, 80, 97].map((latency) => ({ canary: true, latency: latency * 1.5, times: 80 }));
    expect(judge(evidenceOf([...slower, ...spread(false)]), settings).notWorse).toBe(false);
    const failing = [{ canary: true, failed: true, times: 40 }, { canary: false, failed: true, times: 20 }];
    expect(judge(evidenceOf([...spread(true), ...spread(false), ...failing]), settings).notWorse).toBe(false);
  });

  it('stops on too many excess bad requests', () => {
    const evidence = evidenceOf([{ canary: true, failed: true, times: 60 }, { canary: true, times: 40 }, { canary: false, times: 100 }]);
    expect(judge(evidence, { ...settings, blastRadius: 50 }).blastRadiusExceeded).toBe(true);
    expect(judge(evidence, { ...settings, blastRadius: 60 }).blastRadiusExceeded).toBe(false);
    expect(judge(evidence, settings).excessBad).toBeCloseTo(59.5, 1);
  });

  it('adds up the excess of all stages: the budget is of the whole rollout', () => {
    const failing = { canary: true, failed: true, times: 60 };
    const [first, whole] = [evidenceOf([failing, { canary: false, times: 60 }]), evidenceOf([failing, { canary: false, times: 60 }]).next(0.6)];
    for (let index = 0; index < 60; index++) for (const canary of [true, false]) whole.observe({ canary, failed: canary, values: canary ? [] : [10] });
    expect(judge(first, { ...settings, blastRadius: 100 })).toMatchObject({ blastRadiusExceeded: false, excessBad: 59.5 });
    expect(judge(whole, { ...settings, blastRadius: 100 }).blastRadiusExceeded).toBe(true);
    expect(new Evidence(0.6, new BaselineSample(), JSON.parse(JSON.stringify(whole.keep())) as ReturnType<Evidence['keep']>).excessFailed).toEqual(whole.excessFailed);
  });

  it('takes no stage that went well for credit', () => {
    const evidence = evidenceOf([{ canary: false, failed: true, times: 80 }, { canary: true, times: 80 }]).next(0.5);
    for (let index = 0; index < 40; index++) evidence.observe({ canary: true, failed: true, values: [] });
    expect(evidence.excessFailed.units).toBeCloseTo(39.5, 1);
  });

  it('is not misled by users who fail for the first time in a later stage, in which nobody is seen for the first time', () => {
    const unit = (index: number): string => index.toString(16).padStart(8, '0').repeat(2);
    const first = new Evidence(0.5, new BaselineSample());
    for (let index = 0; index < 400; index++) first.observe({ canary: index % 2 === 0, failed: false, unit: unit(index), values: [] });
    const second = first.next(0.5);
    for (let index = 0; index < 400; index++) second.observe({ canary: index % 2 === 0, failed: true, unit: unit(index), values: [] });
    expect(judge(second, { ...settings, blastRadius: 100 }).blastRadiusExceeded).toBe(false);
    expect(second.excessBad.units).toBeLessThan(5);
  });

  it('bears slowness in one spell up to twice the blast radius, and no further', () => {
    const slowInOneSpell = (count: number): Evidence => {
      const evidence = evidenceOf([]);
      for (let index = 0; index < 2 * count; index++) evidence.observe({ canary: index % 2 === 0, failed: false, values: [index % 2 === 0 ? 1_000 : 10], atMs: index });
      return evidence;
    };
    expect([110, 190, 210].map((count) => judge(slowInOneSpell(count), { ...settings, blastRadius: 100 }).blastRadiusExceeded)).toEqual([false, false, true]);
  });

  it('raises an alarm when units do not fall as the share says', () => {
    expect(judge(evidenceOf([{ canary: true, times: 500 }, { canary: false, times: 500 }]), settings).sampleRatioMismatch).toBe(false);
    expect(judge(evidenceOf([{ canary: true, times: 400 }, { canary: false, times: 600 }]), settings).sampleRatioMismatch).toBe(true);
  });

  it('compares nothing at 100 %', () => {
    const evidence = evidenceOf([{ canary: true, times: 100 }], 1);
    expect(judge(evidence, settings)).toMatchObject({ findings: [], notWorse: false, sampleRatioMismatch: false });
  });
});
