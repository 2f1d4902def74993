import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '@mlx-serving/service-kit';
import { WorkerLimits } from '../src/workers/worker-limits.ts';
import { FakeWorker } from './fake-worker.ts';

describe('Q3: the limit of a worker', () => {
  let worker: FakeWorker;
  let limits: WorkerLimits;
  let pid: number | undefined;
  beforeEach(async () => {
    pid = 1;
    worker = new FakeWorker('worker-1');
    const address = `127.0.0.1:${await worker.start()}`;
    limits = new WorkerLimits({ addresses: () => [address], pidOf: () => pid, logger: silentLogger });
  });
  afterEach(async () => {
    limits.close();
    await worker.stop();
  });

  it('is lent for a while, and lent anew at each evaluation', async () => {
    await limits.apply(1.125, 3_000);
    expect([worker.batch, worker.batchTtlMs]).toEqual([9, 3_000]);
    const { asked } = worker;
    await limits.apply(1.125, 2_000);
    expect([worker.batch, worker.batchTtlMs, worker.asked]).toEqual([9, 2_000, asked + 1]);
  });

  it('is its own again at once when nothing is in force, and is asked for no more', async () => {
    await limits.apply(0.5, 3_000);
    await limits.apply(1, 3_000);
    expect([worker.batch, worker.batchTtlMs]).toEqual([8, 0]);
    const { asked } = worker;
    await limits.apply(1, 3_000);
    expect(worker.asked).toBe(asked);
  });

  it('is learned anew of a worker that has started anew', async () => {
    await limits.apply(0.5, 3_000);
    [pid, worker.batch] = [2, 8];
    await limits.apply(0.5, 3_000);
    expect([worker.batch, worker.batchTtlMs]).toEqual([4, 3_000]);
  });
});
