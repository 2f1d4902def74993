import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { StreamReportSchema } from '@mlx-serving/contracts';
import { governor as governorSchema } from '@mlx-serving/policy';
import { SwitchedGovernor } from './switched-governor.ts';

describe('SwitchedGovernor', () => {
  let adaptive = false;
  let algorithm = 'fixed';
  let time = 0;
  let governor: SwitchedGovernor;
  const limits: number[] = [];
  beforeEach(() => {
    jest.useFakeTimers();
    [adaptive, algorithm, time, limits.length] = [false, 'fixed', 0, 0];
    governor = new SwitchedGovernor({
      settings: () => governorSchema.parse({ max_concurrent_streams: 40, max_queued_requests: 10, lease_ttl_ms: 1_000, algorithm, target_ttft_ms: 200 }),
      adaptive: () => adaptive,
      inflight: () => governor.limit() - 1,
      onChange: (limit) => limits.push(limit),
      now: () => time,
    });
  });
  afterEach(() => {
    governor.stop();
    jest.useRealTimers();
  });

  /** Finished requests, all places being taken. @returns the greatest step of the limit */
  function finish(count: number, ttftMs: number, queuedMs = 0): number {
    let [before, greatest] = [governor.limit(), 0];
    for (let each = 0; each < count; each++) {
      time += 50;
      governor.onSample(create(StreamReportSchema, { ttftMs, queuedMs }));
      greatest = Math.max(greatest, Math.abs(governor.limit() - before));
      before = governor.limit();
    }
    return greatest;
  }

  it('is the setting itself, and at once what qos lends', () => {
    finish(50, 5_000);
    expect(governor.limit()).toBe(40);
    governor.lend({ limit: 12, ttlMs: 1_000 });
    expect(governor.limit()).toBe(12);
    jest.advanceTimersByTime(1_000);
    expect([governor.limit(), limits]).toEqual([40, [12, 40]]);
  });

  it('hands over to the PID controller by the flag and back, without a jump', () => {
    adaptive = true;
    expect(finish(1, 100)).toBe(0);
    expect(governor.kind).toBe('pid');
    expect(finish(400, 900)).toBeLessThanOrEqual(4);
    const low = governor.limit();
    expect(low).toBeLessThan(20);
    adaptive = false;
    expect(finish(1, 900)).toBeLessThanOrEqual(4);
    expect(finish(100, 900)).toBeLessThanOrEqual(4);
    expect([governor.kind, governor.limit()]).toEqual(['fixed', 40]);
  });

  it('does not take the wait in the queue for a slow worker', () => {
    adaptive = true;
    finish(400, 5_100, 5_000);
    expect(governor.limit()).toBe(40);
  });

  it('keeps the ceiling that qos lends, whichever algorithm learns', () => {
    algorithm = 'gradient';
    governor.lend({ limit: 7, ttlMs: 1_000 });
    finish(200, 50);
    expect([governor.kind, governor.limit()]).toEqual(['gradient', 7]);
  });
});
