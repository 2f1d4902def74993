import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { AcknowledgementWait } from './acknowledgement-wait.ts';

describe('AcknowledgementWait', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  const heardFrom = new Set<string>();
  const gone = new Set<string>();
  const asked = { expected: ['a', 'b'], hasAcknowledged: (id: string) => heardFrom.has(id), isGone: (id: string) => gone.has(id), startedAt: 0, timeoutMs: 1_000 };
  beforeEach(() => [heardFrom, gone].forEach((ids) => ids.clear()));
  const idsOf = ({ acknowledged }: { acknowledged: readonly { replicaId: string }[] }) => acknowledged.map(({ replicaId }) => replicaId);

  it('waits until the last has acknowledged, and says when each did', async () => {
    jest.setSystemTime(0);
    const wait = new AcknowledgementWait();
    const proof = wait.prove({ ...asked, startedAt: performance.now() });
    for (const id of ['b', 'a']) {
      jest.advanceTimersByTime(10);
      heardFrom.add(id);
      wait.heard();
    }
    expect(await proof).toEqual({ acknowledged: [{ replicaId: 'b', milliseconds: 10 }, { replicaId: 'a', milliseconds: 20 }], missing: [] });
    expect(jest.getTimerCount()).toBe(0);
  });

  it('waits for nobody who is gone, and names them, but takes what they had acknowledged', async () => {
    const wait = new AcknowledgementWait();
    const proof = wait.prove(asked);
    heardFrom.add('a');
    wait.heard();
    heardFrom.clear();
    gone.add('a').add('b');
    wait.heard();
    const { missing, ...rest } = await proof;
    expect([idsOf(rest), missing]).toEqual([['a'], ['b']]);
  });

  it('gives up when the time is over', async () => {
    const proof = new AcknowledgementWait().prove(asked);
    jest.advanceTimersByTime(1_000);
    expect(await proof).toEqual({ acknowledged: [], missing: ['a', 'b'] });
  });
});
