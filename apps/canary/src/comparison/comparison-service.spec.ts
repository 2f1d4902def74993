import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type CanaryComparison, type StreamReport, StreamOutcome, StreamReportBatchSchema, StreamReportSchema } from '@mlx-serving/contracts';
import { createCanaryMetrics } from '../metrics.ts';
import { ComparisonService } from './comparison-service.ts';
import { SeenReports } from './seen-reports.ts';

const { OK, FAILED, CANCELLED, REJECTED } = StreamOutcome;
let count = 0;

function report(variant: string, outcome: StreamOutcome, durationMs = 100, requestId = `r${count++}`): StreamReport {
  return create(StreamReportSchema, { decision: { requestId, variant }, gatewayId: 'g', outcome, durationMs });
}

describe('ComparisonService', () => {
  let time: number;
  let taken: StreamReport[];
  let shown: CanaryComparison[];
  let service: ComparisonService;
  const metrics = createCanaryMetrics();
  const ingest = (...reports: StreamReport[]): void => service.ingest(create(StreamReportBatchSchema, { reports }));
  const repeat = (times: number, variant: string, outcome = OK): void => ingest(...Array.from({ length: times }, () => report(variant, outcome)));

  beforeEach(() => {
    jest.useFakeTimers();
    [time, taken, shown] = [0, [], []];
    service = new ComparisonService({
      status: ({ canary }) => `seen ${canary?.requests}`,
      onReport: (each) => taken.push(each),
      onLook: async () => undefined,
      onChange: (comparison) => shown.push(comparison),
      metrics,
      now: () => time,
    });
    service.configure({ enabled: true, intervalMs: 5_000, retentionHours: 1 });
  });
  afterEach(() => {
    service.stop();
    jest.useRealTimers();
  });

  it('counts only requests that ended well or failed, each for its variant', () => {
    ingest(...[OK, OK, OK, FAILED, CANCELLED, REJECTED].map((outcome) => report('baseline', outcome)));
    ingest(report('canary', OK, 250), report('canary', FAILED, 1), report('unknown', OK));
    expect(service.compare()).toMatchObject({
      baseline: { requests: 4n, errors: 1n, errorRate: 0.25, latencyP95Ms: 100 },
      canary: { requests: 2n, errors: 1n, errorRate: 0.5, latencyP95Ms: 250 },
    });
    expect(service.reportsTotal).toBe(9n);
  });

  it('has no latency without a sample', () => {
    ingest(report('canary', FAILED));
    expect(service.compare().canary?.latencyP95Ms).toBeUndefined();
  });

  it('counts a report once, however often a gateway sends it', () => {
    const same = report('canary', FAILED);
    ingest(same, same);
    ingest(same);
    expect(service.compare().canary?.requests).toBe(1n);
    expect(service.reportsTotal).toBe(1n);
    expect(service.recent).toHaveLength(1);
  });

  it('takes in every report that has no request id', () => {
    ingest(report('canary', OK, 1, ''), report('canary', OK, 1, ''));
    expect(service.compare().canary?.requests).toBe(2n);
  });

  it('keeps the last hundred reports', () => {
    repeat(150, 'baseline');
    const last = report('baseline', OK);
    ingest(last);
    expect(service.recent).toHaveLength(100);
    expect(service.recent.at(-1)).toBe(last);
  });

  it('forgets what is older than the retention', () => {
    repeat(1, 'baseline');
    time = 3_600_000;
    expect(service.compare().baseline).toMatchObject({ requests: 0n });
  });

  it('keeps its samples over a reload unless the retention changes', () => {
    repeat(1, 'baseline');
    service.configure({ enabled: true, intervalMs: 1_000, retentionHours: 1 });
    expect(service.compare().baseline?.requests).toBe(1n);
    service.configure({ enabled: true, intervalMs: 1_000, retentionHours: 2 });
    expect(service.compare().baseline?.requests).toBe(0n);
  });

  it('shows the comparison every interval, but only when it changed', async () => {
    await jest.advanceTimersByTimeAsync(15_000);
    expect(shown).toHaveLength(1);
    repeat(1, 'canary');
    await jest.advanceTimersByTimeAsync(4_999);
    expect(shown).toHaveLength(1);
    await jest.advanceTimersByTimeAsync(1);
    expect(shown).toMatchObject([{ canary: { requests: 0n } }, { canary: { requests: 1n } }]);
  });

  it('shows the status that it is given for both variants', () => {
    repeat(3, 'canary');
    expect(service.compare().status).toBe('seen 3');
  });

  it('counts apart what was repeated at the canary, and leaves out what was moved', () => {
    const with_ = (reason: string, more: object = {}) => create(StreamReportSchema, { ...more, decision: { requestId: `x${count++}`, variant: 'canary', variantReason: reason } });
    ingest(with_('SHADOW', { outcome: OK, sameOutput: true }), with_('SHADOW', { outcome: OK, sameOutput: false }), with_('SHADOW', { outcome: FAILED }), with_('MOVED_TO_BASELINE', { outcome: OK }));
    expect(service.shadow).toEqual({ requests: 3n, failed: 1n, different: 1n });
    expect([service.compare().canary?.requests, taken]).toEqual([0n, []]);
  });

  it('hands over each report once, and knows how many came in the last minute', () => {
    const same = report('canary', FAILED);
    ingest(same, same, report('baseline', OK));
    expect(taken).toHaveLength(2);
    expect(service.requestsPerSecond).toBeCloseTo(2 / 60, 9);
    time = 60_000;
    expect(service.requestsPerSecond).toBe(0);
  });
});

describe('SeenReports', () => {
  it('forgets the oldest when it is full', () => {
    const seen = new SeenReports(2);
    const [first, second, third] = [report('canary', OK), report('canary', OK), report('canary', OK)];
    expect([first, second, third, third, second, first].map((each) => seen.isNew(each))).toEqual([true, true, true, false, false, true]);
  });

  it('tells two requests apart to which clients gave one id', () => {
    const seen = new SeenReports();
    expect(seen.isNew(create(StreamReportSchema, { decision: { requestId: 'a' }, startedAtMs: 1n }))).toBe(true);
    expect(seen.isNew(create(StreamReportSchema, { decision: { requestId: 'a' }, startedAtMs: 2n }))).toBe(true);
  });
});
