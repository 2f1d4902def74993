import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Digest } from './digest.ts';
import { type KeptWindow, ReplicaWindows } from './replica-windows.ts';

function kept(replica: string, window: number, samples: readonly number[], version = samples.length): KeptWindow {
  const digest = new Digest();
  for (const value of samples) digest.push(value);
  return { replica, window, version, digest: digest.keep() };
}

describe('ReplicaWindows', () => {
  it('comes to the same whatever is said twice, and in whatever order', () => {
    const said = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 20 })), { maxLength: 30 });
    fc.assert(
      fc.property(said, fc.infiniteStream(fc.nat()), (reports, places) => {
        // A replica's window grows: its version is how many samples it has by then.
        const messages = reports.map(([replica, window, count]) => kept(replica, window * 5_000, Array.from({ length: count }, (_, at) => at + window)));
        const shuffled = [...messages, ...messages].map((message) => ({ message, place: places.next().value as number })).sort((left, right) => left.place - right.place);
        const [once, often] = [new ReplicaWindows(), new ReplicaWindows()];
        for (const message of messages) once.put(message);
        for (const { message } of shuffled) often.put(message);
        const greatest = new Map<string, number>();
        for (const [replica, window, count] of reports) greatest.set(`${replica} ${window}`, Math.max(count, greatest.get(`${replica} ${window}`) ?? 0));
        expect(often.merged().count).toBe([...greatest.values()].reduce((sum, count) => sum + count, 0));
        expect([0, 50, 95, 100].map((p) => often.merged().percentile(p))).toEqual([0, 50, 95, 100].map((p) => once.merged().percentile(p)));
      }),
    );
  });

  it('forgets and leaves out what is old', () => {
    const windows = new ReplicaWindows();
    windows.put(kept('a', 0, [1]));
    windows.put(kept('a', 5_000, [2, 3]));
    expect(windows.merged(5_000).count).toBe(2);
    windows.forget(5_000);
    expect([windows.size, windows.merged().count]).toEqual([1, 2]);
  });

  it('is not changed by a window that cannot be read', () => {
    const windows = new ReplicaWindows();
    windows.put(kept('a', 0, [1]));
    expect(() => windows.put({ ...kept('a', 0, [1, 2]), digest: { bits: 3, least: 0, greatest: 0, bins: [] } })).toThrow(RangeError);
    expect(windows.merged().count).toBe(1);
  });
});
