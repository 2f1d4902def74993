import { createServiceClient, Qos } from '@mlx-serving/contracts';

/** Fewer requests in the window say nothing. */
const LEAST_REQUESTS = 20n;

export interface RolloutGuard {
  /** Why no rollout may go on; null when all is well, or when it is not known. */
  check(): Promise<string | null>;
  close(): void;
}

/**
 * Watches the error rate that the quality of service controller sees over its window. It is the rate of all traffic, not
 * of those for whom the flag is on. A controller that cannot be asked stops nothing.
 * @param address `host:port`, or '' for no guard
 */
export function createErrorRateGuard(address: string, maxErrorRate: number): RolloutGuard {
  if (address === '') return { check: async () => null, close: () => undefined };
  const qos = createServiceClient(Qos, address, { defaultDeadlineMs: 500 });
  return {
    check: async () => {
      const state = await qos.getState({}).catch(() => undefined);
      const { requests = 0n, errorRate = 0 } = state?.window ?? {};
      if (requests < LEAST_REQUESTS || errorRate <= maxErrorRate) return null;
      return `${(errorRate * 100).toFixed(1)} % of ${requests} requests failed, more than ${(maxErrorRate * 100).toFixed(1)} %.`;
    },
    close: () => qos.close(),
  };
}
