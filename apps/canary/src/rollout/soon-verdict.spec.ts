import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { SoonVerdict } from './soon-verdict.ts';

describe('SoonVerdict', () => {
  let verdicts: number;
  let soon: SoonVerdict;
  beforeEach(() => {
    jest.useFakeTimers();
    verdicts = 0;
    soon = new SoonVerdict(() => verdicts++, () => performance.now());
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('judges at once, and then once for everything that comes within 50 ms', () => {
    soon.ask();
    expect(verdicts).toBe(1);
    for (let report = 0; report < 100; report++) soon.ask();
    expect(verdicts).toBe(1);
    jest.advanceTimersByTime(50);
    expect(verdicts).toBe(2);
    jest.advanceTimersByTime(1_000);
    expect(verdicts).toBe(2);
  });

  it('judges no more once it is stopped', () => {
    soon.ask();
    soon.ask();
    soon.stop();
    jest.advanceTimersByTime(1_000);
    expect(verdicts).toBe(1);
  });
});
