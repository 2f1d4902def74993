import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { type Batch, ReportBuffer } from './report-buffer.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

function collect(options: { capacity?: number; batchSize?: number }, up = { value: true }) {
  const batches: Batch<number>[] = [];
  const buffer = new ReportBuffer<number>({
    ...options,
    intervalMs: 100,
    send: (batch) => {
      if (up.value) batches.push(batch);
      return up.value;
    },
  });
  return { buffer, batches };
}

describe('ReportBuffer', () => {
  it('sends what came within one interval as one batch', () => {
    const { buffer, batches } = collect({});
    [1, 2, 3].forEach((item) => buffer.add(item));
    expect(batches).toEqual([]);
    jest.advanceTimersByTime(100);
    expect(batches).toEqual([{ items: [1, 2, 3], dropped: 0, first: 1 }]);
  });

  it('splits a long queue into batches in order', () => {
    const { buffer, batches } = collect({ batchSize: 2 });
    [1, 2, 3, 4, 5].forEach((item) => buffer.add(item));
    buffer.flush();
    expect(batches.map((batch) => batch.items)).toEqual([[1, 2], [3, 4], [5]]);
  });

  it('keeps what the link did not take, and tries again by itself', () => {
    const up = { value: false };
    const { buffer, batches } = collect({}, up);
    buffer.add(1);
    jest.advanceTimersByTime(100);
    expect([batches.length, buffer.size]).toEqual([0, 1]);
    up.value = true;
    jest.advanceTimersByTime(1_000);
    expect([batches, buffer.size]).toEqual([[{ items: [1], dropped: 0, first: 1 }], 0]);
  });

  it('drops the oldest beyond its capacity and says how many, once', () => {
    const up = { value: false };
    const { buffer, batches } = collect({ capacity: 3 }, up);
    [1, 2, 3, 4, 5].forEach((item) => buffer.add(item));
    up.value = true;
    buffer.flush();
    buffer.add(6);
    buffer.flush();
    expect(batches).toEqual([{ items: [3, 4, 5], dropped: 2, first: 3 }, { items: [6], dropped: 0, first: 6 }]);
  });

  it('keeps batches, and what it keeps, within bounds of bytes too, and lets one that is larger go alone', () => {
    const [mebi, up] = [1024 * 1024, { value: false }];
    const batches: Batch<number>[] = [];
    const buffer = new ReportBuffer<number>({ sizeOf: (item) => item, send: (batch) => up.value && batches.push(batch) > 0 });
    for (let added = 0; added < 40; added++) buffer.add(mebi / 2);
    expect(buffer.size).toBe(32);
    up.value = true;
    buffer.flush();
    expect(batches.map(({ items, dropped, first }) => [items.length, dropped, first]).slice(0, 2)).toEqual([[2, 8, 9], [2, 0, 11]]);
    expect([batches.length, buffer.size]).toEqual([16, 0]);
    for (const size of [1, 3 * mebi, 1]) buffer.add(size);
    buffer.flush();
    expect(batches.slice(16).map(({ items }) => items)).toEqual([[1], [3 * mebi], [1]]);
  });

  it('sends nothing more by itself once it is stopped', () => {
    const { buffer, batches } = collect({});
    buffer.add(1);
    buffer.stop();
    jest.advanceTimersByTime(10_000);
    expect(batches).toEqual([]);
  });

  it('never loses count: whatever came is sent in order, waits, or is counted as dropped', () => {
    const step = fc.oneof({ arbitrary: fc.constant('add'), weight: 6 }, fc.constantFrom('up', 'down', 'flush', 'wait'));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 7 }), (steps, capacity, batchSize) => {
        const up = { value: true };
        const { buffer, batches } = collect({ capacity, batchSize }, up);
        let added = 0;
        for (const action of steps) {
          if (action === 'add') buffer.add(added++);
          if (action === 'up' || action === 'down') up.value = action === 'up';
          if (action === 'flush') buffer.flush();
          if (action === 'wait') jest.advanceTimersByTime(1_000);
          expect(buffer.size).toBeLessThanOrEqual(capacity);
        }
        up.value = true;
        buffer.flush();
        const sent = batches.flatMap((batch) => batch.items);
        expect(sent).toEqual([...sent].sort((a, b) => a - b));
        expect(batches.every((batch) => batch.items.length <= batchSize)).toBe(true);
        expect(sent.length + batches.reduce((sum, batch) => sum + batch.dropped, 0)).toBe(added);
        buffer.stop();
      }),
    );
  });
});
