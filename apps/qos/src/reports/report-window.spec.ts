import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from '@jest/globals';
import { type StreamReport, StreamOutcome, StreamReportSchema } from '@mlx-serving/contracts';
import fc from 'fast-check';
import { ReportWindow } from './report-window.ts';

function report(outcome: StreamOutcome, values: { ttftMs?: number; durationMs?: number; tokens?: number } = {}): StreamReport {
  const { tokens = 0, durationMs = 100, ...rest } = values;
  return create(StreamReportSchema, { outcome, durationMs, usage: { completionTokens: tokens }, ...rest });
}

describe('ReportWindow', () => {
  it('counts only failed requests as errors, over those that ended well or failed', () => {
    const window = new ReportWindow({ windowMs: 60_000, compression: 100, now: () => 0 });
    const { OK, FAILED, CANCELLED, REJECTED, UNSPECIFIED } = StreamOutcome;
    for (const outcome of [OK, OK, OK, FAILED, CANCELLED, REJECTED, UNSPECIFIED]) window.add(report(outcome));
    expect([window.requests, window.errors, window.errorRate]).toEqual([4, 1, 0.25]);
  });

  it('takes the time to the first token of every stream that had one, and the latency of those that ended well', () => {
    const window = new ReportWindow({ windowMs: 60_000, compression: 100, now: () => 0 });
    window.add(report(StreamOutcome.OK, { ttftMs: 10, durationMs: 100 }));
    window.add(report(StreamOutcome.FAILED, { durationMs: 1 }));
    window.add(report(StreamOutcome.CANCELLED, { ttftMs: 30, durationMs: 5 }));
    expect([window.ttft.count, window.ttft.percentile(100), window.latency.count, window.latency.percentile(50)]).toEqual([2, 30, 1, 100]);
  });

  it('measures tokens a second over the time that it has seen', () => {
    let time = 0;
    const window = new ReportWindow({ windowMs: 60_000, compression: 100, now: () => time });
    window.add(report(StreamOutcome.OK, { tokens: 300 }));
    time = 10_000;
    expect(window.tokensPerSecond).toBe(30);
    time = 59_000;
    window.add(report(StreamOutcome.OK, { tokens: 300 }));
    time = 100_000;
    expect(window.tokensPerSecond).toBe(5);
  });

  it('stays sane whatever a report says', () => {
    const times = fc.option(fc.double(), { nil: undefined });
    const outcomes = fc.constantFrom(StreamOutcome.OK, StreamOutcome.FAILED, StreamOutcome.CANCELLED);
    fc.assert(
      fc.property(fc.array(fc.tuple(outcomes, times, fc.double())), (hostile) => {
        const window = new ReportWindow({ windowMs: 60_000, compression: 100, now: () => 0 });
        for (const [outcome, ttftMs, durationMs] of hostile) window.add(report(outcome, { durationMs, ...(ttftMs === undefined ? {} : { ttftMs }) }));
        expect(window.errorRate).toBeGreaterThanOrEqual(0);
        expect(window.errorRate).toBeLessThanOrEqual(1);
        expect(window.ttft.percentile(95) ?? 0).toBeGreaterThanOrEqual(0);
        expect(window.requests).toBe(hostile.filter(([outcome]) => outcome !== StreamOutcome.CANCELLED).length);
      }),
    );
  });
});
