import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Decision } from '@mlx-serving/contracts';
import type { AnswerPlan } from './answer-plan.ts';
import { StreamAnswer } from './stream-answer.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

/** As much of a response as an answer uses before its first token. */
class FakeResponse {
  readonly headers: Record<string, string | number> = {};
  readonly written: string[] = [];
  headersSent = false;
  destroyed = false;
  writableEnded = false;

  setHeader(name: string, value: string | number): void {
    this.headers[name] = value;
  }

  writeHead(): void {
    this.headersSent = true;
  }

  write(text: string): boolean {
    this.written.push(text);
    return true;
  }
}

const decision = { requestId: 'r', variant: 'baseline', enabledFlags: [] as string[], flagsRevision: 1n, routingRevision: 1n } as unknown as Decision;

describe('a stream that waits for its place', () => {
  it('says in its headers how many were before it, and in a comment how many are still', () => {
    const response = new FakeResponse();
    let before = 5;
    const sink = new StreamAnswer(response as never, { choices: [] } as unknown as AnswerPlan).sink(0);
    sink.decided(decision);
    sink.queued?.(() => before);
    before = 2;
    jest.advanceTimersByTime(15_000);
    expect(response.headers['x-mlx-serving-queue-position']).toBe(5);
    expect([response.headersSent, response.written]).toEqual([true, [': the answer is still to come; requests before it: 2\n\n']]);
  });
});
