import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { setImmediate } from 'node:timers/promises';
import type { Decision, Token } from '@mlx-serving/contracts';
import type { AnswerPlan } from './answer-plan.ts';
import { StreamAnswer } from './stream-answer.ts';

/** As much of a response as an answer uses before its first token. */
class FakeResponse {
  readonly headers: Record<string, string | number> = {};
  readonly written: string[] = [];
  headersSent = false;
  chunkedEncoding = false;
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

  end(text: string): void {
    this.written.push(text);
    this.writableEnded = true;
  }
}

const decision = { requestId: 'r', variant: 'baseline', enabledFlags: [] as string[], flagsRevision: 1n, routingRevision: 1n } as unknown as Decision;

const plan = {
  choices: [{}],
  choicesPerPrompt: 1,
  format: { stream: () => ({ tokens: (_choice: number, tokens: readonly Token[]) => tokens.map(({ text }) => text).join(''), ended: () => '.', closing: () => '!' }) },
} as unknown as AnswerPlan;
const flow = { pause: () => undefined, resume: () => undefined };
const words = (...texts: string[]): Token[] => texts.map((text) => ({ text }) as Token);

describe('a stream of tokens', () => {
  it('has its first token out before the loop turns, with what came along, and later ones once a turn', async () => {
    const response = new FakeResponse();
    const sink = new StreamAnswer(response as never, plan).sink(0);
    sink.tokens(words('a'), 'm', flow);
    // What follows in the same packet is handed over by promises.
    await Promise.resolve().then(() => sink.tokens(words('b'), 'm', flow));
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(response.written).toEqual(['ab']);
    sink.tokens(words('c'), 'm', flow);
    sink.tokens(words('d'), 'm', flow);
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(response.written).toEqual(['ab']);
    await setImmediate();
    expect(response.written).toEqual(['ab', 'cd']);
  });

  it('that came whole is one write', async () => {
    const response = new FakeResponse();
    const answer = new StreamAnswer(response as never, plan);
    const sink = answer.sink(0);
    sink.tokens(words('a', 'b'), 'm', flow);
    await Promise.resolve().then(() => sink.finished({} as never, 'm'));
    await Promise.resolve().then(() => answer.finish());
    await setImmediate();
    expect(response.written).toEqual(['ab.!']);
  });
});

describe('a stream that waits for its place', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

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
