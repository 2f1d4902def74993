import { describe, expect, it } from '@jest/globals';
import { silentLogger } from '@mlx-serving/service-kit';
import type { CountBatch, DecisionTotals } from '../store/flag-store.ts';
import { DecisionCounter } from './decision-counter.ts';

describe('F17: the decisions', () => {
  it('are sent again as they were when the store did not confirm them, and what came since goes after them', async () => {
    const sent: [counts: [string, DecisionTotals][], batch: CountBatch][] = [];
    let answers = false;
    const addDecisions = async (counts: ReadonlyMap<string, DecisionTotals>, batch: CountBatch): Promise<void> => {
      sent.push([[...counts], batch]);
      if (!answers) throw new Error('no answer');
    };
    const counter = new DecisionCounter({ store: { addDecisions }, logger: silentLogger, isKnown: () => true, onCounted: () => undefined });
    counter.add('a', { enabled: 1n, disabled: 2n });
    await counter.flush();
    counter.add('a', { enabled: 10n, disabled: 0n });
    await counter.flush();
    expect([sent[1], counter.waitingOf('a')]).toEqual([sent[0], { enabled: 11n, disabled: 2n }]);
    answers = true;
    await counter.stop();
    expect(sent.slice(2).map(([[count], { number }]) => [count, number])).toEqual([
      [['a', { enabled: 1n, disabled: 2n }], 1],
      [['a', { enabled: 10n, disabled: 0n }], 2],
    ]);
    expect(counter.waitingOf('a')).toEqual({ enabled: 0n, disabled: 0n });
  });
});
