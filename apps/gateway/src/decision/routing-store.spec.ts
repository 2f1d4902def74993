import { beforeEach, describe, expect, it } from '@jest/globals';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { RoutingTableSchema } from '@mlx-serving/contracts';
import { placeOf, RoutingPlaces } from './routing-places.ts';
import { RoutingStore } from './routing-store.ts';

const table = (more: MessageInitShape<typeof RoutingTableSchema> = {}) => create(RoutingTableSchema, { enabled: true, rolloutPercentage: 30, strategy: 'hash', hashSeed: 's', cacheSize: 10, ...more });

describe('RoutingStore', () => {
  let now = 0;
  let store: RoutingStore;
  beforeEach(() => {
    now = 1_000;
    store = new RoutingStore(() => now);
  });

  it('lets a table with a lease hold only while the canary service is heard', () => {
    store.table = table({ leaseMs: 4_000 });
    now += 4_000;
    expect([store.leaseEnded, store.percentage]).toEqual([false, 30]);
    store.heard();
    now += 4_000;
    expect(store.leaseEnded).toBe(false);
    now += 1;
    expect([store.leaseEnded, store.percentage]).toEqual([true, 0]);
    store.heard();
    expect([store.leaseEnded, store.percentage]).toEqual([false, 30]);
  });

  it('lets a table without a lease hold without end', () => {
    store.table = table();
    now += 1e9;
    expect([store.leaseEnded, store.percentage]).toEqual([false, 30]);
  });

  it('remembers no place for strategy random', () => {
    store.table = table({ strategy: 'random' });
    store.places.of('a');
    expect(store.places.size).toBe(0);
  });
});

describe('RoutingPlaces', () => {
  it('forgets the key that was used longest ago, and counts hits and misses', () => {
    const places = new RoutingPlaces();
    places.configure('s', 3);
    for (const key of ['a', 'b', 'c', 'a', 'd']) places.of(key);
    expect(places.takeCounts()).toEqual({ hits: 1, misses: 4 });
    for (const key of ['a', 'c', 'd', 'b']) places.of(key);
    expect([places.takeCounts(), places.size]).toEqual([{ hits: 3, misses: 1 }, 3]);
    expect(places.takeCounts()).toEqual({ hits: 0, misses: 0 });
  });

  it('forgets all when the seed changes', () => {
    const places = new RoutingPlaces();
    places.configure('s', 3);
    const before = places.of('a').place;
    places.configure('other', 3);
    expect(places.of('a').place).not.toBe(before);
  });

  it('keeps no key that is so long that it would cost more memory than time', () => {
    const places = new RoutingPlaces();
    places.configure('s', 10);
    const long = 'k'.repeat(1_000);
    expect([places.of(long), places.size]).toEqual([placeOf(long, 's'), 0]);
  });
});
