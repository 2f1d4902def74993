import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { FinishReason, StreamOutcome, StreamReportSchema } from '@mlx-serving/contracts';
import { Observer } from './observation-of.ts';

const { OK, FAILED, CANCELLED, REJECTED } = StreamOutcome;
const decision = { requestId: 'r', variant: 'canary', variantReason: 'IN_CANARY_SHARE', routingKeyHash: 'ab' };

describe('Observer', () => {
  let observer: Observer;
  const observe = (report: object) =>
    observer.observationOf(create(StreamReportSchema, { decision, workerId: 'w', outcome: OK, durationMs: 100, ttftMs: 20, usage: { completionTokens: 5 }, finishReason: FinishReason.STOP, ...report }), 7);

  beforeEach(() => {
    observer = new Observer();
    for (let index = 0; index < 5; index++) observe({});
  });

  it('measures the whole time, the first token, the time a token, the gap and both ends of the length', () => {
    expect(observe({})).toEqual({ canary: true, failed: false, unit: undefined, values: [100, 20, 20, 20, 5, 1 / 6], empty: false, cut: false, repeated: false, otherFinish: false, atMs: 7 });
    expect(observe({ tokenGapP95Ms: 33 })?.values[3]).toBe(33);
  });

  it('sees how an answer ended', () => {
    expect(observe({ finishReason: FinishReason.LENGTH })).toMatchObject({ cut: true, otherFinish: false });
    expect(observe({ finishReason: FinishReason.TOOL_CALLS })).toMatchObject({ cut: false, otherFinish: true });
    expect(observe({ repeatedOutput: true })).toMatchObject({ repeated: true });
    expect(observe({ usage: { completionTokens: 0 } })).toMatchObject({ empty: true });
    expect(observe({ usage: { completionTokens: 1 }, emptyOutput: true })).toMatchObject({ empty: true });
  });

  it('leaves out the latencies of the first five requests of a worker, and of the next five after it has started anew', () => {
    expect(observe({ workerId: 'other' })).toMatchObject({ failed: false, values: [] });
    expect(observe({})?.values[0]).toBe(100);
    observer.restarted('w');
    expect(observe({})?.values).toEqual([]);
  });

  it('counts a fault of the server without a latency, also of a cold worker', () => {
    expect(observe({ outcome: FAILED })).toEqual({ canary: true, failed: true, unit: undefined, values: [], atMs: 7 });
    expect(observe({ outcome: FAILED, workerId: 'other' })).toMatchObject({ failed: true });
  });

  it('knows of a client that went away how long it had waited at least, and of a refused one nothing', () => {
    expect(observe({ outcome: CANCELLED })).toMatchObject({ failed: false, unfinished: true, values: [100, 20] });
    expect(observer.observationOf(create(StreamReportSchema, { decision, workerId: 'w', outcome: CANCELLED, durationMs: 900 }), 7)).toMatchObject({ values: [900, 900] });
    expect(observe({ outcome: REJECTED })).toMatchObject({ failed: false, unfinished: true, values: [] });
  });

  it.each(['LEASE_ENDED', 'NO_CANARY_WORKER', 'ROLLBACK_TO_BASELINE', 'SHADOW', 'MOVED_TO_BASELINE'])('says nothing of a request that the share did not draw: %s', (variantReason) => {
    expect(observe({ decision: { ...decision, variantReason } })).toBeUndefined();
  });

  it('names the unit only when a unit has many requests', () => {
    observer.countsUsers = true;
    expect(observe({})?.unit).toBe('ab');
  });
});
