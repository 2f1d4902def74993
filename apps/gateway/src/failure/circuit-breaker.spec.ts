import { describe, expect, it } from '@jest/globals';
import { CircuitBreaker } from './circuit-breaker.ts';
import { RetryBudget } from './retry-budget.ts';

function breaker() {
  const clock = { now: 0 };
  return { clock, circuit: new CircuitBreaker(() => ({ open_after_failures: 3, open_ms: 100, longest_open_ms: 300 }), () => clock.now) };
}

function fail(circuit: CircuitBreaker, times: number): void {
  for (let failure = 0; failure < times; failure++) {
    circuit.begin();
    circuit.failed();
  }
}

describe('CircuitBreaker', () => {
  it('opens after failures in a row only', () => {
    const { circuit } = breaker();
    fail(circuit, 2);
    circuit.succeeded();
    fail(circuit, 2);
    expect([circuit.state, circuit.allows]).toEqual(['closed', true]);
    fail(circuit, 1);
    expect([circuit.state, circuit.allows]).toEqual(['open', false]);
  });

  it('lets one request try when its time is over, and closes when that succeeds', () => {
    const { circuit, clock } = breaker();
    fail(circuit, 3);
    clock.now = 100;
    expect([circuit.state, circuit.allows]).toEqual(['half-open', true]);
    circuit.begin();
    expect(circuit.allows).toBe(false);
    circuit.succeeded();
    expect([circuit.state, circuit.allows]).toEqual(['closed', true]);
  });

  it('stays open twice as long each time that the trial fails, up to its bound', () => {
    const { circuit, clock } = breaker();
    fail(circuit, 3);
    for (const longer of [100, 200, 300, 300]) {
      clock.now += longer - 1;
      expect(circuit.allows).toBe(false);
      clock.now += 1;
      expect(circuit.allows).toBe(true);
      fail(circuit, 1);
    }
  });

  it('lets the next one try when a trial told nothing', () => {
    const { circuit, clock } = breaker();
    fail(circuit, 3);
    clock.now = 100;
    circuit.begin();
    circuit.abandoned();
    expect([circuit.state, circuit.allows]).toEqual(['half-open', true]);
  });
});

describe('RetryBudget', () => {
  it('allows its share of the requests, and what was saved up', () => {
    const budget = new RetryBudget(() => ({ share: 0.2, burst: 3 }));
    let retries = 0;
    for (let request = 0; request < 100; request++) {
      budget.onRequest();
      if (budget.take()) retries++;
    }
    expect(retries).toBeGreaterThanOrEqual(20);
    expect(retries).toBeLessThanOrEqual(23);
    expect(budget.left).toBeLessThan(1.001);
  });
});
