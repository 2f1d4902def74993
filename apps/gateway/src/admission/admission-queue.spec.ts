import { describe, expect, it } from '@jest/globals';
import { AdmissionQueue } from './admission-queue.ts';

function queue(limit: number, maxQueued = 10) {
  const settings = { limit, maxQueued, now: 0 };
  const admission = new AdmissionQueue({ limit: () => settings.limit, maxQueued: () => settings.maxQueued, now: () => settings.now });
  return { admission, settings };
}

const never = (): AbortSignal => new AbortController().signal;

describe('AdmissionQueue', () => {
  it('admits up to the limit and the others in the order in which they came', async () => {
    const { admission } = queue(1);
    const order: number[] = [];
    const first = await admission.acquire(never());
    const waiting = [1, 2, 3].map(async (index) => {
      const release = await admission.acquire(never());
      order.push(index);
      release();
    });
    expect([admission.active, admission.queued]).toEqual([1, 3]);
    first();
    await Promise.all(waiting);
    expect([order, admission.active, admission.queued]).toEqual([[1, 2, 3], 0, 0]);
  });

  it('does not let a newcomer pass those who wait', async () => {
    const { admission, settings } = queue(1);
    await admission.acquire(never());
    void admission.acquire(never());
    settings.limit = 5;
    void admission.acquire(never());
    expect(admission.queued).toBe(2);
    admission.admitWaiting();
    expect([admission.active, admission.queued]).toEqual([3, 0]);
  });

  it('refuses beyond its bound, with a time to retry after that grows with the queue', async () => {
    const { admission, settings } = queue(1, 0);
    await admission.acquire(never());
    await expect(admission.acquire(never())).rejects.toMatchObject({ reason: 'QUEUE_FULL', retryAfterMs: 1_000 });
    settings.maxQueued = 3;
    for (let waiting = 0; waiting < 3; waiting++) void admission.acquire(never());
    await expect(admission.acquire(never())).rejects.toMatchObject({ retryAfterMs: 4_000 });
  });

  it('learns from how long places are held when one will be free', async () => {
    const { admission, settings } = queue(1, 0);
    for (let request = 0; request < 100; request++) {
      const release = await admission.acquire(never());
      settings.now += 20_000;
      release();
    }
    expect(admission.retryAfterMs).toBeGreaterThan(19_000);
    expect(admission.retryAfterMs).toBeLessThanOrEqual(20_000);
  });

  it('forgets at once who gives up while waiting', async () => {
    const { admission } = queue(1);
    const release = await admission.acquire(never());
    const abort = new AbortController();
    const waiting = admission.acquire(abort.signal);
    abort.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    expect(admission.queued).toBe(0);
    release();
    expect(admission.active).toBe(0);
    await expect(admission.acquire(abort.signal)).rejects.toThrow('gone');
  });

  it('gives a place back once only', async () => {
    const { admission } = queue(2);
    const [release] = await Promise.all([admission.acquire(never()), admission.acquire(never())]);
    release();
    release();
    expect(admission.active).toBe(1);
  });
});
