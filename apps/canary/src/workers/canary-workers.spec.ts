import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { StatsResponseSchema } from '@mlx-serving/contracts';
import { silentLogger } from '@mlx-serving/service-kit';
import { CanaryWorkers } from './canary-workers.ts';

const ADDRESS = '127.0.0.1:9';
const SECOND = 1_000;
const HOUR = 3_600 * SECOND;

describe('CanaryWorkers', () => {
  let time: number;
  let exits: string[];
  let changes: number;
  let workers: CanaryWorkers;
  const stats = (pid: number, megabytes = 100, cachedMegabytes = 0) =>
    create(StatsResponseSchema, { pid, residentMemoryBytes: BigInt(Math.round((megabytes + cachedMegabytes) * 2 ** 20)), prefixCache: { bytes: BigInt(Math.round(cachedMegabytes * 2 ** 20)) } });
  const slopes = () => workers.facts.slopes;

  beforeEach(() => {
    jest.useFakeTimers();
    [time, exits, changes] = [0, [], 0];
    workers = new CanaryWorkers({ addresses: [], onExit: (address) => exits.push(address), onChange: () => changes++, now: () => time, sampleEveryMs: () => 10 * SECOND, logger: silentLogger });
  });
  afterEach(() => {
    workers.stop();
    jest.useRealTimers();
  });

  /** What a worker says each second for so long, its memory as a function of the seconds. */
  function watch(seconds: number, megabytes: (second: number) => number, cached: (second: number) => number = () => 0): void {
    for (const end = time + seconds * SECOND; time < end; time += SECOND) workers.see(ADDRESS, stats(1, megabytes(time / SECOND), cached(time / SECOND)));
  }

  it('watches a worker that a gateway names, until it is gone for long while another one is there', () => {
    expect(workers.any).toBe(false);
    workers.heard('gateway-1', [ADDRESS, 'http://127.0.0.1:8080/v1']);
    workers.heard('gateway-2', ['http://127.0.0.1:8080/v1']);
    expect([workers.any, workers.watched]).toEqual([true, [ADDRESS]]);
    workers.see(ADDRESS, stats(1));
    workers.heard('gateway-1', ['127.0.0.1:10']);
    workers.see(ADDRESS, undefined);
    time = 300 * SECOND;
    workers.see(ADDRESS, undefined);
    expect([workers.watched, workers.facts.gone]).toEqual([[ADDRESS, '127.0.0.1:10'], true]);
    workers.see('127.0.0.1:10', stats(2));
    workers.see(ADDRESS, undefined);
    expect([workers.watched, workers.facts.gone]).toEqual([['127.0.0.1:10'], false]);
    for (const gateway of ['gateway-1', 'gateway-2']) workers.heard(gateway, []);
    expect(workers.any).toBe(false);
  });

  it('counts another process as an exit, and a broken connection as none', () => {
    for (const pid of [1, 1, 2, 2, 3]) workers.see(ADDRESS, stats(pid));
    workers.see(ADDRESS, undefined);
    workers.see(ADDRESS, stats(3));
    expect(exits).toEqual([ADDRESS, ADDRESS]);
  });

  it('takes a worker for gone that is not back after a second, and not one that was never there', () => {
    workers.see(ADDRESS, undefined);
    time = HOUR;
    expect(workers.facts.gone).toBe(false);
    workers.see(ADDRESS, stats(1));
    workers.see(ADDRESS, undefined);
    time += 999;
    expect(workers.facts.gone).toBe(false);
    time += 1;
    jest.advanceTimersByTime(1_000);
    expect([workers.facts.gone, changes]).toEqual([true, 1]);
    workers.see(ADDRESS, stats(1));
    expect(workers.facts.gone).toBe(false);
  });

  it('knows the slope of a leak with its interval, and none before five minutes', () => {
    watch(280, (second) => 100 + second / 30);
    expect(slopes()).toEqual([]);
    watch(120, (second) => 100 + second / 30);
    expect(slopes()).toMatchObject([{ worker: ADDRESS }]);
    expect(slopes()[0]?.slope).toBeCloseTo(120, 0);
    expect(slopes()[0]?.low).toBeGreaterThan(100);
  });

  it('takes a prefix cache that fills up for no leak', () => {
    watch(600, () => 100, (second) => second);
    expect(slopes()[0]).toMatchObject({ slope: 0, high: 0 });
  });

  it('begins anew with another process, and keeps few samples of a long life', () => {
    watch(2 * 3_600, (second) => 100 + second / 36);
    expect(slopes()[0]?.slope).toBeCloseTo(100, 0);
    workers.see(ADDRESS, stats(2, 10));
    expect(slopes()).toEqual([]);
  });
});
