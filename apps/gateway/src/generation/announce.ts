import type { WorkerPool } from '../workers/worker-pool.ts';
import type { GenerationRecord } from './generation-record.ts';
import { workerRequest } from './worker-attempt.ts';

/** The flag under which a worker warms what is announced to it (SPEC T2). */
const WARMUP_FLAG = 'ttft_pipeline.warmup_queue';
/** Said again after this share of the time for which the worker remembers it. */
const REPEAT_AFTER = 0.6;

/**
 * Has the worker that will probably get a waiting request warm it meanwhile: tokens, and the prompt's beginning. The
 * pool remembers the choice by the prompt's prefix, so that the request goes there when its turn has come.
 * @returns ends it
 */
export function announce(pool: WorkerPool, record: GenerationRecord): () => void {
  if (!record.decision.enabledFlags.includes(WARMUP_FLAG)) return () => undefined;
  const worker = pool.pick(record.prompt)?.worker;
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  const say = async (): Promise<void> => {
    const ttlMs = await worker?.prepare(workerRequest(record));
    if (!over && ttlMs !== undefined) timer = setTimeout(() => void say(), ttlMs * REPEAT_AFTER);
  };
  void say();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}
