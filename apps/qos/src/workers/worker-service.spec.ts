import { afterEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '@mlx-serving/service-kit';
import { FakeWorker } from '../../test/fake-worker.ts';
import { until } from '../../test/until.ts';
import { createQosMetrics } from '../metrics.ts';
import { WorkerService } from './worker-service.ts';

describe('WorkerService', () => {
  const stops: (() => unknown)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
  });

  async function started(configured: readonly string[] = []) {
    const clock = { time: 0 };
    const service = new WorkerService({ baseline: configured, canary: [], memoryLimitBytes: () => 0, metrics: createQosMetrics(), logger: silentLogger, now: () => clock.time });
    service.start();
    const worker = new FakeWorker('joined');
    const address = `127.0.0.1:${await worker.start()}`;
    stops.push(() => worker.stop(), () => service.stop());
    return { service, clock, worker, address };
  }

  it('watches a worker that has joined a gateway from the first report that names it, in its own pool', async () => {
    const { service, address } = await started();
    service.heard(address, 'canary');
    service.heard(address, 'canary');
    await until('its statistics', () => service.pools[1].length === 1);
    expect([service.addresses, service.pools, service.runningRequests()]).toEqual([[address], [[], [address]], 1]);
  });

  it('asks no server that is none of ours, and no more than it can watch', async () => {
    const { service } = await started();
    for (const other of ['', 'https://api.example/v1', 'http://127.0.0.1:8080/v1', 'a b:1']) service.heard(other, 'baseline');
    expect(service.addresses).toEqual([]);
    for (let each = 0; each < 300; each++) service.heard(`127.0.0.1:${each + 1}`, 'baseline');
    expect(service.addresses).toHaveLength(200);
  });

  it('forgets one that has joined when it is gone and no report names it any more, and never one that is configured', async () => {
    const { service, clock, worker, address } = await started(['127.0.0.1:9']);
    service.heard(address, 'baseline');
    await until('its statistics', () => service.pools[0].length === 1);
    clock.time = 300_000;
    await worker.stop();
    await until('it to be forgotten', () => service.addresses.length === 1);
    expect(service.addresses).toEqual(['127.0.0.1:9']);
  });
});
