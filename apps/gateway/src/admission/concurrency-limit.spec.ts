import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ConcurrencyLimit } from './concurrency-limit.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

function limited() {
  const seen: number[] = [];
  return { limit: new ConcurrencyLimit(64, (value) => seen.push(value)), seen };
}

describe('ConcurrencyLimit', () => {
  it('holds what is lent until the lease ends, then returns to the setting', () => {
    const { limit, seen } = limited();
    limit.lend({ limit: 8, ttlMs: 15_000 });
    jest.advanceTimersByTime(14_999);
    expect(limit.value).toBe(8);
    jest.advanceTimersByTime(1);
    expect([limit.value, seen]).toEqual([64, [8, 64]]);
  });

  it('holds on while the lease is renewed', () => {
    const { limit } = limited();
    for (let renewal = 0; renewal < 10; renewal++) {
      limit.lend({ limit: 8, ttlMs: 15_000 });
      jest.advanceTimersByTime(10_000);
    }
    expect(limit.value).toBe(8);
  });

  it('takes a new setting at once when nothing is lent, and after the lease otherwise', () => {
    const { limit } = limited();
    limit.configure(32);
    expect(limit.value).toBe(32);
    limit.lend({ limit: 8, ttlMs: 1_000 });
    limit.configure(16);
    expect(limit.value).toBe(8);
    jest.advanceTimersByTime(1_000);
    expect(limit.value).toBe(16);
  });

  it('never falls below one', () => {
    const { limit } = limited();
    limit.lend({ limit: 0, ttlMs: 1_000 });
    expect(limit.value).toBe(1);
  });
});
