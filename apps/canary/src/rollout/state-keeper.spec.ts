import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '@mlx-serving/service-kit';
import { FakeRolloutStore } from './fake-rollout-store.ts';
import { emptyState, rolledBack, type RolloutState, started } from './rollout-state.ts';
import { StateKeeper } from './state-keeper.ts';

const cause = (nowMs: number, reason = 'a test') => ({ nowMs, actor: 'someone', reason });
const begin = (id: string, percentage = 10) => (state: RolloutState): RolloutState => started(state, { id, source: 'deploy', file: 'f', stages: [{ percentage, holdMs: 0, gate: false }] }, cause(1));
const rollBack = (nowMs: number) => (state: RolloutState): RolloutState => rolledBack(state, { gradual: false, cooldownMs: 1_000 }, cause(nowMs, 'manual'));
const gather = (requestsBefore: number) => (state: RolloutState): RolloutState => ({ ...state, requestsBefore });

describe('StateKeeper', () => {
  let store: FakeRolloutStore;
  const keepers: StateKeeper[] = [];

  beforeEach(() => {
    store = new FakeRolloutStore();
  });
  afterEach(async () => {
    await Promise.all(keepers.splice(0).map((keeper) => keeper.stop()));
  });

  /** What a replica sees of the store, which only its own connection may lose. */
  function replica(holder: string) {
    const connection = { holds: true };
    const reach = <T>(ask: () => Promise<T>): Promise<T> => (connection.holds ? ask() : Promise.reject(new Error('no answer')));
    const own = {
      load: () => reach(() => store.load()),
      commit: (name: string, state: RolloutState, follows: number) => reach(() => store.commit(name, state, follows)),
      lower: (state: RolloutState, follows: number) => reach(() => store.lower(state, follows)),
      acquire: (name: string) => reach(() => store.acquire(name)),
      release: (name: string) => store.release(name),
    };
    const acted: boolean[] = [];
    const keeper = new StateKeeper({ store: own, holder, onActing: (acting) => acted.push(acting), logger: silentLogger, leaseMs: 3_600_000 });
    keepers.push(keeper);
    return { keeper, connection, acted };
  }

  /** Another process had the rollout, and rolled it back. */
  async function rolledBackBefore(): Promise<RolloutState> {
    const { keeper } = replica('a');
    await keeper.start();
    await keeper.change(begin('one'));
    await keeper.change(rollBack(5));
    await keeper.stop();
    return keeper.state;
  }

  it('acts at 0 % while it cannot read what is kept, and takes that over when it can', async () => {
    const before = await rolledBackBefore();
    const { keeper, connection, acted } = replica('a');
    connection.holds = false;
    await keeper.start();
    expect([keeper.acting, keeper.known, keeper.state.percentage, keeper.problem]).toEqual([true, false, 0, expect.stringContaining('the kept rollout is not known')]);
    await keeper.change(gather(7));
    connection.holds = true;
    await keeper.renew();
    expect([keeper.known, keeper.state, keeper.problem]).toEqual([true, before, undefined]);
    expect(acted).toEqual([true, true]);
    expect(await store.load()).toEqual(before);
  });

  it('reads what is kept though the first command ran out of its time', async () => {
    const before = await rolledBackBefore();
    const { keeper, acted } = replica('a');
    const acquire = store.acquire.bind(store);
    let asked = 0;
    store.acquire = (holder) => (++asked === 1 ? Promise.reject(new Error('Command timed out')) : acquire(holder));
    await keeper.start();
    expect([keeper.known, keeper.state, acted]).toEqual([true, before, [true]]);
  });

  it('keeps a rollback that was asked for before anything was known, of whatever rollout is found', async () => {
    const first = replica('a');
    await first.keeper.start();
    await first.keeper.change(begin('one', 50));
    await first.keeper.stop();
    const { keeper, connection } = replica('a');
    connection.holds = false;
    await keeper.start();
    await keeper.change(rollBack(9));
    connection.holds = true;
    await keeper.renew();
    expect(keeper.state).toMatchObject({ id: 'one', phase: 'rolled_back', percentage: 0, cooldownUntilMs: 1_009, history: [{ event: 'started' }, { event: 'rolled_back', atMs: 9 }] });
    expect(await store.load()).toEqual(keeper.state);
  });

  it('does not begin to act when the store goes away that said who acts', async () => {
    await replica('a').keeper.start();
    const { keeper, connection } = replica('b');
    await keeper.start();
    connection.holds = false;
    await keeper.renew();
    expect(keeper.acting).toBe(false);
  });

  describe('when another replica took over meanwhile', () => {
    let a: ReturnType<typeof replica>;
    let b: ReturnType<typeof replica>;
    beforeEach(async () => {
      [a, b] = [replica('a'), replica('b')];
      await a.keeper.start();
      await a.keeper.change(begin('one'));
      a.connection.holds = false;
      await a.keeper.renew();
      await a.keeper.change(gather(3));
      // The lease has run out.
      store.holder = undefined;
      await b.keeper.start();
      expect([a.keeper.acting, b.keeper.acting]).toEqual([true, true]);
    });

    it.each([
      ['at the next look', () => a.keeper.renew()],
      ['at the next change', () => a.keeper.change(gather(4))],
    ])('never writes its old state over the other one\'s rollback: it takes that over %s', async (_, act) => {
      await b.keeper.change(rollBack(5));
      await b.keeper.stop();
      a.connection.holds = true;
      await act();
      expect(a.keeper.state).toMatchObject({ id: 'one', phase: 'rolled_back', percentage: 0 });
      expect(await store.load()).toMatchObject({ phase: 'rolled_back', percentage: 0 });
      expect(a.acted).toEqual([true, true]);
    });

    it('tells the other one of a rollback that the store has not heard of, and acts no more', async () => {
      await a.keeper.change(rollBack(6));
      await b.keeper.change(gather(8));
      a.connection.holds = true;
      await a.keeper.renew();
      expect([a.keeper.acting, await store.load()]).toEqual([false, expect.objectContaining({ phase: 'rolled_back', percentage: 0, requestsBefore: 8 })]);
      expect(await b.keeper.change(gather(9))).toBe(true);
      expect(b.keeper.state).toMatchObject({ phase: 'rolled_back', percentage: 0, requestsBefore: 9 });
    });

    it('tells of the rollback that finds out that the lease is gone', async () => {
      a.connection.holds = true;
      expect(await a.keeper.change(rollBack(6))).toBe(false);
      expect([a.keeper.acting, await store.load()]).toEqual([false, expect.objectContaining({ phase: 'rolled_back', percentage: 0 })]);
    });

    it('takes nothing back of a rollout that the other one began', async () => {
      await a.keeper.change(rollBack(6));
      await b.keeper.change(begin('two', 20));
      await b.keeper.stop();
      a.connection.holds = true;
      await a.keeper.renew();
      expect(a.keeper.state).toMatchObject({ id: 'two', phase: 'running', percentage: 20 });
    });

    it('asks again what shall change, of the state that it took over', async () => {
      await b.keeper.change(gather(8));
      await b.keeper.stop();
      a.connection.holds = true;
      expect(await a.keeper.change((state) => ({ ...state, requestsBefore: state.requestsBefore + 1 }))).toBe(true);
      expect(await store.load()).toMatchObject({ requestsBefore: 9 });
    });
  });

  it('looks what is kept when the store is back, though it has nothing of its own to keep', async () => {
    const [a, b] = [replica('a'), replica('b')];
    await a.keeper.start();
    await a.keeper.change(begin('one'));
    a.connection.holds = false;
    await a.keeper.renew();
    store.holder = undefined;
    await b.keeper.start();
    await b.keeper.change(rollBack(5));
    await b.keeper.stop();
    a.connection.holds = true;
    await a.keeper.renew();
    expect(a.keeper.state).toMatchObject({ phase: 'rolled_back', percentage: 0 });
  });

  it('is not misled by what its predecessor of the same name had on its way when it was killed', async () => {
    const [old, next] = [replica('a'), replica('a')];
    await old.keeper.start();
    await old.keeper.change(begin('one'));
    await next.keeper.start();
    await old.keeper.change(rollBack(5));
    await next.keeper.change(gather(4));
    expect(next.keeper.state).toMatchObject({ phase: 'rolled_back', percentage: 0, requestsBefore: 4 });
  });

  it('goes on from memory when the store lost everything, and when an answer of its own was lost', async () => {
    const { keeper } = replica('a');
    await keeper.start();
    await keeper.change(begin('one'));
    const commit = store.commit.bind(store);
    store.commit = async (...given) => {
      store.commit = commit;
      await commit(...given);
      throw new Error('no answer');
    };
    await keeper.change(gather(1));
    await keeper.change(gather(2));
    expect(await store.load()).toEqual(keeper.state);
    const holder = store.holder;
    store = new FakeRolloutStore();
    store.holder = holder;
    await keeper.change(gather(3));
    expect(await store.load()).toMatchObject({ id: 'one', requestsBefore: 3 });
    expect(keeper.state.version).toBeGreaterThan(emptyState.version);
  });
});
