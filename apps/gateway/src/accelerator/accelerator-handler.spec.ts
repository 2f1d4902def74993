import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { EventEmitter } from 'node:events';
import { createAcceleratorHandlers } from './accelerator-handler.ts';
import type { AcceleratorService } from './accelerator-service.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

const service = { stats: () => Promise.resolve({ enabled: true, workers: 0 }) } as unknown as AcceleratorService;

/** A call whose client asks every so many milliseconds. */
function callOf(intervalMs: number) {
  const call = Object.assign(new EventEmitter(), { request: { intervalMs }, cancelled: false, writableNeedDrain: false, written: 0, write: () => ++call.written > 0 });
  void createAcceleratorHandlers(service, () => undefined).ttftStats(call as never);
  return call;
}

describe('the statistics of the accelerator', () => {
  it('come once per interval until the client cancels', async () => {
    const call = callOf(100);
    await jest.advanceTimersByTimeAsync(1_000);
    expect(call.written).toBe(11);
    call.cancelled = true;
    call.emit('cancelled');
    await jest.advanceTimersByTimeAsync(1_000);
    expect([call.written, jest.getTimerCount()]).toEqual([11, 0]);
  });

  it('do not come at every turn for an interval that no timer can hold', async () => {
    const call = callOf(2 ** 32 - 1);
    await jest.advanceTimersByTimeAsync(60_000);
    expect(call.written).toBe(1);
  });

  it('wait for a client that does not read them', async () => {
    const call = callOf(100);
    await jest.advanceTimersByTimeAsync(0);
    call.writableNeedDrain = true;
    await jest.advanceTimersByTimeAsync(60_000);
    expect(call.written).toBe(1);
    call.writableNeedDrain = false;
    await jest.advanceTimersByTimeAsync(100);
    expect(call.written).toBe(2);
  });
});
