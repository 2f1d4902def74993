import type { VariantSummary } from '@mlx-serving/contracts';
import { sendJson } from '@mlx-serving/service-kit';
import type { RoutingStore } from '../decision/routing-store.ts';
import type { HttpContext } from '../http/http-context.ts';

/** GET /health/canary: the comparison that came down the canary link last (SPEC C4). */
export function createCanaryHealthHandler({ routing, hasCanaryWorker }: { routing: RoutingStore; hasCanaryWorker: () => boolean }) {
  return ({ response }: HttpContext): void => {
    const { table, comparison, leaseEnded } = routing;
    const enabled = table?.enabled === true && hasCanaryWorker();
    sendJson(response, 200, {
      canary: {
        enabled,
        percentage: enabled ? routing.percentage : 0,
        requests: { baseline: countOf(comparison?.baseline), canary: countOf(comparison?.canary) },
        metrics: { baseline: toMetrics(comparison?.baseline), canary: toMetrics(comparison?.canary) },
        status: statusOf(enabled, leaseEnded, comparison?.status),
      },
    });
  };
}

function statusOf(enabled: boolean, leaseEnded: boolean, known: string | undefined): string {
  if (enabled && leaseEnded) return 'frozen';
  return known || (enabled ? 'insufficient_data' : 'disabled');
}

function countOf(summary: VariantSummary | undefined): number {
  return Number(summary?.requests ?? 0n);
}

/** `p95Latency` in milliseconds, 0 while there is no sample. */
function toMetrics(summary: VariantSummary | undefined) {
  return { p95Latency: summary?.latencyP95Ms ?? 0, errorRate: summary?.errorRate ?? 0 };
}
