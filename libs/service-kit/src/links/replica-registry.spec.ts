import { describe, expect, it, jest } from '@jest/globals';
import { EventEmitter } from 'node:events';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { ReplicaRegistry } from './replica-registry.ts';

/** One link as the server sees it; `stuck` is a replica that does not read. */
class FakeCall extends EventEmitter {
  readonly written: string[] = [];
  writableLength = 0;
  ended = false;
  stuck = false;

  write(message: string): boolean {
    this.written.push(message);
    if (this.stuck) this.writableLength++;
    return true;
  }

  end(): void {
    this.ended = true;
  }
}

type Call = ServerDuplexStream<string, string>;

function linked(...ids: string[]) {
  const registry = new ReplicaRegistry<string, string>();
  const calls = new Map(ids.map((id) => [id, new FakeCall()]));
  for (const [id, call] of calls) registry.add(id, call as unknown as Call);
  return { registry, call: (id: string) => calls.get(id) as FakeCall };
}

describe('ReplicaRegistry', () => {
  it('reaches every replica and lists them by name', () => {
    const { registry, call } = linked('b', 'a');
    registry.broadcast('hello');
    expect([registry.ids, call('a').written, call('b').written]).toEqual([['a', 'b'], ['hello'], ['hello']]);
  });

  it.each(['cancelled', 'end', 'error'])('forgets a replica whose link is over by %s', (event) => {
    const { registry, call } = linked('a', 'b');
    call('a').emit(event, new Error('gone'));
    expect(registry.ids).toEqual(['b']);
  });

  it('names a replica whose link broke as missing until it links again, for five minutes at most, and not one that said goodbye', async () => {
    let now = 0;
    const registry = new ReplicaRegistry<string, string>(() => now);
    const calls = ['broken', 'cut', 'leaving'].map((id) => {
      const call = new FakeCall();
      registry.add(id, call as unknown as Call);
      return call;
    });
    calls[0]?.emit('cancelled');
    calls[1]?.emit('error', new Error('cut'));
    calls[2]?.emit('end');
    expect((await registry.propagation(1n, 0, 1_000)).missing).toEqual(['broken', 'cut']);
    const again = new FakeCall();
    registry.add('broken', again as unknown as Call);
    registry.acknowledge('broken', 1n);
    expect(await registry.propagation(1n, 0, 1_000)).toMatchObject({ acknowledged: [{ replicaId: 'broken' }], missing: ['cut'] });
    now = 300_001;
    expect((await registry.propagation(1n, 0, 1_000)).missing).toEqual([]);
  });

  it('knows the replicas of a former run for absent, and forgets those that are linked elsewhere', () => {
    const { registry } = linked('here');
    registry.remember(['here', 'there', 'gone']);
    expect(registry.absent).toEqual(['gone', 'there']);
    registry.forget(['there']);
    registry.close();
    expect(registry.absent).toEqual(['gone', 'here']);
  });

  it('lets a replica that links again replace its former link, whose late end changes nothing', () => {
    const { registry, call } = linked('a');
    const newer = new FakeCall();
    registry.add('a', newer as unknown as Call);
    expect(call('a').ended).toBe(true);
    call('a').emit('end');
    registry.broadcast('x');
    expect([registry.ids, newer.written, call('a').written]).toEqual([['a'], ['x'], []]);
  });

  it('ends the link of a replica that does not read, so that nothing piles up without bound', () => {
    const { registry, call } = linked('slow', 'fast');
    call('slow').stuck = true;
    for (let message = 0; message < 2_000; message++) registry.broadcast(String(message));
    expect([registry.ids, call('slow').written.length, call('fast').written.length]).toEqual([['fast'], 1_000, 2_000]);
  });

  it('ends all links when it is closed', () => {
    const { registry, call } = linked('a', 'b');
    registry.close();
    expect([registry.ids, call('a').ended, call('b').ended]).toEqual([[], true, true]);
  });
});

describe('propagation', () => {
  it('is proven as soon as the last replica has acknowledged, each with its own time', async () => {
    const { registry } = linked('a', 'b');
    const proof = registry.propagation(7n, performance.now(), 60_000);
    registry.acknowledge('a', 7n);
    registry.acknowledge('b', 9n);
    const { acknowledged, missing } = await proof;
    expect(acknowledged).toEqual([{ replicaId: 'a', milliseconds: expect.any(Number) }, { replicaId: 'b', milliseconds: expect.any(Number) }]);
    expect(missing).toEqual([]);
  });

  it('is proven at once by replicas that have acknowledged before, and by none at all', async () => {
    const { registry } = linked('a');
    registry.acknowledge('a', 3n);
    expect((await registry.propagation(3n, performance.now(), 60_000)).missing).toEqual([]);
    expect(await linked().registry.propagation(1n, performance.now(), 60_000)).toEqual({ acknowledged: [], missing: [] });
  });

  it('names by the end of its time who has not acknowledged', async () => {
    jest.useFakeTimers();
    const { registry } = linked('a', 'b', 'c');
    const proof = registry.propagation(2n, performance.now(), 2_000);
    registry.acknowledge('b', 2n);
    registry.acknowledge('c', 1n);
    jest.advanceTimersByTime(2_000);
    jest.useRealTimers();
    expect(await proof).toMatchObject({ acknowledged: [{ replicaId: 'b' }], missing: ['a', 'c'] });
  });

  it('does not wait for a replica that unlinks, and names it as missing', async () => {
    const { registry, call } = linked('a', 'b');
    const proof = registry.propagation(2n, performance.now(), 60_000);
    registry.acknowledge('a', 2n);
    call('b').emit('cancelled');
    expect(await proof).toMatchObject({ acknowledged: [{ replicaId: 'a' }], missing: ['b'] });
  });

  it('does not count a replica that links only after the change', async () => {
    const { registry } = linked('a');
    const proof = registry.propagation(2n, performance.now(), 60_000);
    registry.add('late', new FakeCall() as unknown as Call);
    registry.acknowledge('a', 2n);
    expect(await proof).toMatchObject({ acknowledged: [{ replicaId: 'a' }], missing: [] });
  });

  it('takes the revision that a replica held when it linked again as its acknowledgement', async () => {
    const { registry } = linked('a');
    const proof = registry.propagation(2n, performance.now(), 60_000);
    registry.add('a', new FakeCall() as unknown as Call, 2n);
    registry.acknowledge('a', 2n);
    expect(await proof).toMatchObject({ acknowledged: [{ replicaId: 'a' }], missing: [] });
  });

  it('never takes an acknowledgement back', async () => {
    const { registry } = linked('a');
    registry.acknowledge('a', 5n);
    registry.acknowledge('a', 4n);
    registry.acknowledge('nobody', 9n);
    expect((await registry.propagation(5n, performance.now(), 60_000)).missing).toEqual([]);
  });
});
