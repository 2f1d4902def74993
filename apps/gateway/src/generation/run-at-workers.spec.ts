import { describe, expect, it } from '@jest/globals';
import { errors } from '../errors.ts';
import type { GenerationRecord } from './generation-record.ts';
import type { GenerationSink } from './generation-types.ts';
import { runAtWorkers, type RunOptions } from './run-at-workers.ts';

describe('a request that ends while it is given its place', () => {
  it('is brought to no worker', async () => {
    let picked = 0;
    const options = { pool: { pick: () => void picked++ }, budget: { onRequest: () => undefined } } as unknown as RunOptions;
    const signal = AbortSignal.abort(errors.CLIENT_GONE());
    await expect(runAtWorkers(options, { prompt: {} } as GenerationRecord, {} as GenerationSink, signal)).rejects.toMatchObject({ reason: 'CLIENT_GONE' });
    expect(picked).toBe(0);
  });
});
