import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { RoutingTable } from '@mlx-serving/contracts';
import type { CanaryFile } from '@mlx-serving/policy';
import { silentLogger } from '@mlx-serving/service-kit';
import { FakeRoutingStore } from './fake-routing-store.ts';
import { RoutingService } from './routing-service.ts';

const settings: CanaryFile['canary'] = {
  enabled: true,
  rolloutPercentage: 1,
  strategy: 'hash',
  hashKey: 'user_id',
  hashSeed: 'seed',
  enableCache: true,
  cacheSize: 10,
  model: '',
  shadow: { percentage: 0, maxConcurrent: 2 },
};

describe('RoutingService', () => {
  let store: FakeRoutingStore;
  let tables: RoutingTable[];
  const services: RoutingService[] = [];
  beforeEach(() => {
    jest.useFakeTimers();
    store = new FakeRoutingStore();
    tables = [];
  });
  afterEach(() => {
    services.splice(0).forEach((service) => service.stop());
    jest.useRealTimers();
  });

  function create(hasCanaryWorker = true): RoutingService {
    const service = new RoutingService({ store, hasCanaryWorker: () => hasCanaryWorker, onTable: (table) => tables.push(table), logger: silentLogger });
    services.push(service);
    return service;
  }
  const revisions = (): number[] => tables.map((table) => Number(table.revision));

  it('makes the table of the file, and raises its revision by one with each change', async () => {
    const service = create();
    await service.apply(settings);
    await service.apply({ ...settings, rolloutPercentage: 5 });
    expect(tables).toMatchObject([
      { revision: 1n, enabled: true, rolloutPercentage: 1, strategy: 'hash', hashKey: 'user_id', hashSeed: 'seed' },
      { revision: 2n, rolloutPercentage: 5 },
    ]);
  });

  it('keeps the revision when nothing that routes has changed', async () => {
    const service = create();
    await service.apply(settings);
    await service.apply({ ...settings });
    expect(revisions()).toEqual([1]);
  });

  it('goes on from the stored revision after a restart', async () => {
    await create().apply(settings);
    await create().apply(settings);
    await create().apply({ ...settings, hashKey: 'request_id' });
    expect(revisions()).toEqual([1, 1, 2]);
  });

  it.each([
    ['the file says so', false, true, 'CANARY_DISABLED'],
    // Gateways know best whether one serves, and a worker may join them at any time.
    ['there is no worker, which leaves the table enabled,', true, false, 'NO_CANARY_WORKER'],
  ])('is disabled when %s and says why', async (_, enabled, hasCanaryWorker, reason) => {
    const service = create(hasCanaryWorker);
    await service.apply({ ...settings, enabled });
    expect(tables[0]?.enabled).toBe(enabled);
    expect(service.disabledReason).toBe(reason);
  });

  it('counts on without the store, says so, and settles when it is back', async () => {
    const service = create();
    await service.apply(settings);
    store.reachable = false;
    await service.apply({ ...settings, rolloutPercentage: 5 });
    expect(revisions()).toEqual([1, 2]);
    expect(service.storeProblem).toContain('the store is away');
    store.reachable = true;
    await jest.advanceTimersByTimeAsync(1_000);
    expect(service.storeProblem).toBeUndefined();
    expect(revisions()).toEqual([1, 2]);
    expect(await store.settle('another', 0n)).toBe(3n);
  });

  it('takes the stored revision when a store that was away from the start comes back', async () => {
    await create().apply(settings);
    await create().apply({ ...settings, rolloutPercentage: 5 });
    store.reachable = false;
    tables = [];
    const service = create();
    await service.apply({ ...settings, rolloutPercentage: 5 });
    expect(revisions()).toEqual([1]);
    store.reachable = true;
    await jest.advanceTimersByTimeAsync(1_000);
    expect(revisions()).toEqual([1, 2]);
  });

  it('lowers the share at once while the store is silent, and what the store says later of the former share is overtaken', async () => {
    const service = create();
    await service.apply(settings);
    let answer: () => void = () => undefined;
    const settle = store.settle.bind(store);
    store.settle = async (...asked) => {
      await new Promise<void>((resolve) => (answer = resolve));
      return settle(...asked);
    };
    const raised = service.apply({ ...settings, rolloutPercentage: 50 });
    await jest.advanceTimersByTimeAsync(1);
    service.lower({ ...settings, rolloutPercentage: 0 }, false);
    expect(service.table).toMatchObject({ revision: 2n, rolloutPercentage: 0 });
    store.settle = settle;
    answer();
    await raised;
    await service.apply({ ...settings, rolloutPercentage: 0 });
    expect(tables.map(({ rolloutPercentage }) => rolloutPercentage)).not.toContain(50);
    expect(service.table.rolloutPercentage).toBe(0);
    expect(await store.settle('another', 0n)).toBeGreaterThan(service.table.revision);
  });

  it('goes above a revision that a gateway brings from another life', async () => {
    const service = create();
    await service.apply(settings);
    await service.heard(1n);
    expect(revisions()).toEqual([1]);
    await service.heard(57n);
    expect(revisions()).toEqual([1, 58]);
    expect(await store.settle('another', 0n)).toBe(59n);
  });

  it('goes above an equal revision while it does not know the store', async () => {
    store.reachable = false;
    const service = create();
    await service.apply(settings);
    await service.heard(1n);
    await service.heard(2n);
    expect(revisions()).toEqual([1, 2]);
  });

  it('tries the store no more after its stop', async () => {
    store.reachable = false;
    const service = create();
    await service.apply(settings);
    service.stop();
    store.reachable = true;
    await jest.advanceTimersByTimeAsync(10_000);
    expect(service.storeProblem).toBeDefined();
  });
});
