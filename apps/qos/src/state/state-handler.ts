import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Handlers, Qos, QosWindowSchema } from '@mlx-serving/contracts';
import type { LeaseService } from '../leases/lease-service.ts';
import type { Gateways } from '../link/link-handler.ts';
import type { ReportService } from '../reports/report-service.ts';
import type { WindowView } from '../reports/report-window.ts';
import type { WorkerService } from '../workers/worker-service.ts';

export interface StateHandlerOptions {
  readonly gateways: Gateways;
  readonly reports: ReportService;
  readonly leases: LeaseService;
  readonly workers: WorkerService;
}

/** Answers what this service knows now. */
export function createStateHandler({ gateways, reports, leases, workers }: StateHandlerOptions): Handlers<typeof Qos>['getState'] {
  return async () => ({
    windowMs: reports.window.windowMs,
    reportsTotal: reports.totals.reports,
    droppedReportsTotal: reports.totals.dropped,
    window: toMessage(reports.window),
    linkedGateways: gateways.ids,
    leases: leases.leases,
    workers: workers.stats,
    recent: [...reports.recent],
  });
}

function toMessage(view: WindowView): MessageInitShape<typeof QosWindowSchema> {
  return {
    requests: BigInt(view.requests),
    errors: BigInt(view.errors),
    errorRate: view.errorRate,
    tokensPerSecond: view.tokensPerSecond,
    ...present('ttftP50Ms', view.ttft.percentile(50)),
    ...present('ttftP95Ms', view.ttft.percentile(95)),
    ...present('ttftP99Ms', view.ttft.percentile(99)),
    ...present('latencyP95Ms', view.latency.percentile(95)),
  };
}

function present<K extends string>(key: K, value: number | undefined): { [P in K]?: number } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: number };
}
