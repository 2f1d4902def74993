import { describe, expect, it } from '@jest/globals';
import { Priority } from '@mlx-serving/contracts';
import fc from 'fast-check';
import { AdmissionQueue, type Seat } from './admission-queue.ts';
import { CLASSES } from './traffic-control.ts';

function queue(limit: number, maxQueued = 10, urgentShare = 0) {
  const settings = { limit, maxQueued, now: 0 };
  const admission = new AdmissionQueue({ limit: () => settings.limit, maxQueued: () => settings.maxQueued, urgentShare: () => urgentShare, now: () => settings.now });
  return { admission, settings };
}

const never = (): AbortSignal => new AbortController().signal;

describe('AdmissionQueue', () => {
  it('admits up to the limit and the others in the order in which they came', async () => {
    const { admission } = queue(1);
    const order: number[] = [];
    const { release: first } = await admission.acquire(never());
    const waiting = [1, 2, 3].map(async (index) => {
      const { release } = await admission.acquire(never());
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
    const order: number[] = [];
    const former = admission.acquire(never()).then(() => order.push(1));
    settings.limit = 5;
    const latter = admission.acquire(never()).then(() => order.push(2));
    await Promise.all([former, latter]);
    expect([order, admission.active, admission.queued]).toEqual([[1, 2], 3, 0]);
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
      const { release } = await admission.acquire(never());
      settings.now += 20_000;
      release();
    }
    expect(admission.retryAfterMs).toBeGreaterThan(19_000);
    expect(admission.retryAfterMs).toBeLessThanOrEqual(20_000);
  });

  it('forgets at once who gives up while waiting', async () => {
    const { admission } = queue(1);
    const { release } = await admission.acquire(never());
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
    const [{ release }] = await Promise.all([admission.acquire(never()), admission.acquire(never())]);
    release();
    release();
    expect(admission.active).toBe(1);
  });
});

describe('a request with a deadline', () => {
  async function measured(holdMs: number) {
    const made = queue(1);
    for (let request = 0; request < 100; request++) {
      const { release } = await made.admission.acquire(never());
      made.settings.now += holdMs;
      release();
    }
    await made.admission.acquire(never());
    return made;
  }

  it('is refused at once when it cannot be served in time, and waits when it can', async () => {
    const { admission } = await measured(2_000);
    void admission.acquire(never());
    // Two before it, of two seconds each and as much again for what may come between, and two of its own.
    await expect(admission.acquire(never(), { deadlineMs: 9_900 })).rejects.toMatchObject({ reason: 'DEADLINE_UNREACHABLE', code: 'UNAVAILABLE', retryAfterMs: expect.closeTo(10_000, -2) });
    expect(admission.queued).toBe(1);
    void admission.acquire(never(), { deadlineMs: 10_100 });
    expect(admission.queued).toBe(2);
  });

  it('is judged by what it asks for, when that is less than what others do', async () => {
    const made = queue(1);
    for (let request = 0; request < 100; request++) {
      const { release } = await made.admission.acquire(never(), { cost: 1_000 });
      made.settings.now += 2_000;
      release();
    }
    await made.admission.acquire(never());
    await expect(made.admission.acquire(never(), { cost: 1_000, deadlineMs: 5_000 })).rejects.toMatchObject({ reason: 'DEADLINE_UNREACHABLE' });
    void made.admission.acquire(never(), { cost: 100, deadlineMs: 5_000 });
    expect(made.admission.queued).toBe(1);
  });

  it('takes no place once others have gone before it for so long that it could not end in time', async () => {
    const made = queue(1);
    let release = (): void => undefined;
    for (let request = 0; request < 100; request++) {
      ({ release } = await made.admission.acquire(never()));
      made.settings.now += 2_000;
      if (request < 99) release();
    }
    const late = made.admission.acquire(never(), { deadlineMs: 6_100 });
    const next = made.admission.acquire(never());
    made.settings.now += 4_500;
    release();
    await expect(late).rejects.toMatchObject({ reason: 'DEADLINE_UNREACHABLE' });
    expect((await next).queuedMs).toBe(4_500);
  });

  it('is not refused for a guess: at first nobody knows how long a place is held', async () => {
    const { admission } = queue(1);
    await admission.acquire(never());
    void admission.acquire(never(), { deadlineMs: 1 });
    expect(admission.queued).toBe(1);
  });
});

describe('the places for urgent requests', () => {
  it('are left free by batch and background requests, and taken at once by others, who pass those that wait', async () => {
    const { admission } = queue(4, 10, 0.5);
    const background = (): Promise<Seat> => admission.acquire(never(), { priority: Priority.BACKGROUND });
    const [{ release }] = await Promise.all([background(), background()]);
    void background();
    expect([admission.active, admission.queued]).toEqual([2, 1]);
    const urgent = await Promise.all([admission.acquire(never()), admission.acquire(never(), { priority: Priority.INTERACTIVE })]);
    expect([urgent.map(({ queuedMs }) => queuedMs), admission.active, admission.queued]).toEqual([[0, 0], 4, 1]);
    for (const seat of urgent) seat.release();
    expect([admission.active, admission.queued]).toEqual([2, 1]);
    release();
    expect([admission.active, admission.queued]).toEqual([2, 0]);
  });

  it('never leave those that can wait without a place at all', async () => {
    const { admission } = queue(1, 10, 0.9);
    await admission.acquire(never(), { priority: Priority.BACKGROUND });
    expect(admission.active).toBe(1);
  });

  it('do not starve a background request: among many urgent ones it gets its turn', async () => {
    const { admission, settings } = queue(2, 100, 0.5);
    const seats = await Promise.all([admission.acquire(never()), admission.acquire(never())]);
    let served = false;
    void admission.acquire(never(), { priority: Priority.BACKGROUND }).then(() => (served = true));
    for (let second = 0; second < 60 && !served; second++) {
      const next = admission.acquire(never());
      settings.now += 1_000;
      seats.shift()?.release();
      const seat = await Promise.race([next, new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)))]);
      if (seat) seats.push(seat);
    }
    expect(served).toBe(true);
  });
});

describe('a full queue', () => {
  it('gives the seat of the last background request to an urgent one, with QUEUE_FULL to the former', async () => {
    const { admission } = queue(1, 1);
    await admission.acquire(never());
    const background = admission.acquire(never(), { priority: Priority.BACKGROUND });
    const positions: number[] = [];
    void admission.acquire(never(), { priority: Priority.INTERACTIVE, onQueued: (position) => positions.push(position()) });
    await expect(background).rejects.toMatchObject({ reason: 'QUEUE_FULL' });
    expect([admission.queued, positions]).toEqual([1, [0]]);
  });

  it('keeps who is in it when the newcomer could not be served in time himself', async () => {
    const { admission, settings } = queue(1, 1);
    for (let request = 0; request < 10; request++) {
      const { release } = await admission.acquire(never());
      settings.now += 2_000;
      release();
    }
    const { release } = await admission.acquire(never());
    const background = admission.acquire(never(), { priority: Priority.BACKGROUND });
    await expect(admission.acquire(never(), { priority: Priority.INTERACTIVE, deadlineMs: 1_000 })).rejects.toMatchObject({ reason: 'DEADLINE_UNREACHABLE' });
    expect(admission.queued).toBe(1);
    release();
    expect(await background).toMatchObject({ position: 0 });
  });

  it('tells a request how many were before it and how long it waited', async () => {
    const { admission, settings } = queue(1);
    const { release } = await admission.acquire(never());
    void admission.acquire(never());
    const waiting = admission.acquire(never());
    settings.now = 50;
    release();
    settings.limit = 2;
    admission.admitWaiting();
    expect(await waiting).toMatchObject({ position: 1, queuedMs: 50 });
  });

  it('never exceeds its bounds, whoever comes, leaves, ends or changes them', async () => {
    const step = fc.record({ act: fc.constantFrom('come', 'come', 'come', 'abort', 'end', 'limit'), at: fc.nat(20), tenant: fc.constantFrom('a', 'b'), priority: fc.constantFrom(...CLASSES) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const { admission, settings } = queue(2, 5);
        const [aborts, seats]: [AbortController[], Seat[]] = [[], []];
        for (const { act, at, tenant, priority } of steps) {
          if (act === 'come') {
            const abort = new AbortController();
            aborts.push(abort);
            admission.acquire(abort.signal, { tenant, priority, cost: at + 1 }).then((seat) => seats.push(seat), () => undefined);
          } else if (act === 'abort') aborts[at % Math.max(1, aborts.length)]?.abort(new Error('gone'));
          else if (act === 'end') seats.splice(at % Math.max(1, seats.length), 1)[0]?.release();
          else {
            settings.limit = 1 + (at % 4);
            admission.admitWaiting();
          }
          await Promise.resolve();
          await Promise.resolve();
          await Promise.resolve();
          expect(admission.queued).toBeLessThanOrEqual(5);
          expect(admission.active).toBeLessThanOrEqual(4);
          // Nobody waits for a place that is free.
          if (admission.queued > 0) expect(admission.active).toBeGreaterThanOrEqual(settings.limit);
        }
        aborts.forEach((abort) => abort.abort(new Error('over')));
        seats.forEach((seat) => seat.release());
        await new Promise((resolve) => setImmediate(resolve));
        seats.forEach((seat) => seat.release());
        expect([admission.active, admission.queued]).toEqual([0, 0]);
      }),
      { numRuns: 60 },
    );
  });
});
