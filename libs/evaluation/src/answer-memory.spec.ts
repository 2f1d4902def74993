import { describe, expect, it } from '@jest/globals';
import { AnswerMemory } from './answer-memory.ts';
import { ANSWERS } from './flag-answer.ts';

const { whitelisted, disabled, killed } = ANSWERS;

describe('AnswerMemory', () => {
  it('gives the same object for the same answers, and another for others', () => {
    const memory = new AnswerMemory();
    const first = memory.of(['a', 'b'], [whitelisted, disabled]);
    expect(memory.of(['a', 'b'], [whitelisted, disabled])).toBe(first);
    expect(memory.of(['a', 'b'], [disabled, whitelisted])).toEqual({ enabled: ['b'], reasons: { a: 'DISABLED', b: 'WHITELISTED' } });
    expect(memory.of(['a', 'b'], [killed, disabled])).toEqual({ enabled: [], reasons: { a: 'KILLED', b: 'DISABLED' } });
  });

  it('knows nothing of other flags once it has forgotten', () => {
    const memory = new AnswerMemory();
    memory.of(['a'], [whitelisted]);
    memory.forget();
    expect(memory.of(['b'], [whitelisted])).toEqual({ enabled: ['b'], reasons: { b: 'WHITELISTED' } });
  });

  it('gives what nobody can change', () => {
    const { enabled, reasons } = new AnswerMemory().of(['a'], [whitelisted]);
    expect(() => (enabled as string[]).push('x')).toThrow(TypeError);
    expect(() => ((reasons as Record<string, string>)['a'] = 'x')).toThrow(TypeError);
  });

  it('is right however many different answers there are', () => {
    const memory = new AnswerMemory();
    const names = Array.from({ length: 12 }, (_, at) => `f${String(at).padStart(2, '0')}`);
    for (let bits = 0; bits < 4_096; bits++) {
      const given = names.map((_, at) => ((bits >> at) & 1 ? whitelisted : disabled));
      expect(memory.of(names, given).enabled).toEqual(names.filter((_, at) => (bits >> at) & 1));
    }
  });
});
