import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { LeaseSchema, Priority } from '@mlx-serving/contracts';
import { createGatewayMetrics } from '../metrics.ts';
import { ConcurrencyLimit } from './concurrency-limit.ts';
import { CLASSES, classOf, TrafficControl } from './traffic-control.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

const control = (): TrafficControl => new TrafficControl(new ConcurrencyLimit(64, () => undefined), createGatewayMetrics());
const lease = (directive: object) => create(LeaseSchema, { id: 'one', ttlMs: 1_000, directive } as never);

describe('TrafficControl', () => {
  it('takes every directive, and returns to its own settings when the leases end', () => {
    const traffic = control();
    expect(traffic.lend(lease({ case: 'concurrencyLimit', value: 8 }))).toBe(true);
    expect(traffic.lend(lease({ case: 'shedLoad', value: { priority: Priority.BATCH, share: 0.25 } }))).toBe(true);
    expect(traffic.lend(lease({ case: 'openCircuit', value: { workerId: '127.0.0.1:1' } }))).toBe(true);
    expect([traffic.limit(), CLASSES.map((one) => traffic.shedShare(one)), traffic.isForcedOpen('127.0.0.1:1')]).toEqual([8, [0, 0, 0.25, 0], true]);
    jest.advanceTimersByTime(1_000);
    expect([traffic.limit(), traffic.shedShare(Priority.BATCH), traffic.isForcedOpen('127.0.0.1:1')]).toEqual([64, 0, false]);
  });

  it('sheds every class when none is named, never more than everything', () => {
    const traffic = control();
    traffic.lend(lease({ case: 'shedLoad', value: { share: 7 } }));
    expect(CLASSES.map((one) => traffic.shedShare(one))).toEqual([1, 1, 1, 1]);
    traffic.stop();
    expect(traffic.shedShare(Priority.NORMAL)).toBe(0);
  });

  it('holds on while a lease is renewed, and does not take what it does not know', () => {
    const traffic = control();
    for (let renewal = 0; renewal < 5; renewal++) {
      traffic.lend(lease({ case: 'openCircuit', value: { workerId: 'w' } }));
      jest.advanceTimersByTime(900);
    }
    expect(traffic.isForcedOpen('w')).toBe(true);
    expect(traffic.lend(create(LeaseSchema, { ttlMs: 1_000 }))).toBe(false);
  });

  it('takes a lease back before its time when it is told so', () => {
    const traffic = control();
    traffic.lend(lease({ case: 'openCircuit', value: { workerId: 'w' } }));
    traffic.revoke('another');
    expect(traffic.isForcedOpen('w')).toBe(true);
    traffic.revoke('one');
    expect(traffic.isForcedOpen('w')).toBe(false);
    traffic.lend(lease({ case: 'shedLoad', value: { share: 1 } }));
    traffic.revoke('one');
    expect(traffic.sheds(Priority.BACKGROUND)).toBe(false);
  });

  it('refuses a lease of a replica whose term is over', () => {
    const traffic = control();
    expect(traffic.lend({ ...lease({ case: 'concurrencyLimit', value: 9 }), term: 7n })).toBe(true);
    expect(traffic.lend({ ...lease({ case: 'concurrencyLimit', value: 1 }), term: 6n })).toBe(false);
    expect(traffic.lend({ ...lease({ case: 'concurrencyLimit', value: 5 }), term: 0n })).toBe(true);
    expect(traffic.limit()).toBe(5);
  });

  it('lets one request at a time to a worker whose circuit is half open', () => {
    const traffic = control();
    traffic.lend(lease({ case: 'openCircuit', value: { workerId: 'w', halfOpen: true } }));
    expect([traffic.isForcedOpen('w', 0), traffic.isForcedOpen('w', 1)]).toEqual([false, true]);
  });

  it('sheds the least urgent first', () => {
    let draw = 0;
    const traffic = new TrafficControl(new ConcurrencyLimit(64, () => undefined), createGatewayMetrics(), () => (draw = (draw + 0.37) % 1));
    traffic.lend(lease({ case: 'shedLoad', value: { share: 0.3 } }));
    const refused = new Map(CLASSES.map((one) => [one as Priority, 0]));
    for (let each = 0; each < 1_000; each++) {
      const one = each % 2 === 0 ? Priority.INTERACTIVE : Priority.BATCH;
      if (traffic.sheds(one)) refused.set(one, (refused.get(one) ?? 0) + 1);
    }
    expect(refused.get(Priority.INTERACTIVE)).toBeLessThan(10);
    expect(refused.get(Priority.BATCH)).toBeGreaterThan(270);
    expect(refused.get(Priority.BATCH)).toBeLessThan(330);
  });

  it('counts what names no class as normal', () => {
    expect([classOf(undefined), classOf(Priority.UNSPECIFIED), classOf(Priority.BATCH)]).toEqual([Priority.NORMAL, Priority.NORMAL, Priority.BATCH]);
  });
});
