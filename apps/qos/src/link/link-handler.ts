import type { Handlers, Qos, QosLinkRequest, QosLinkResponse } from '@mlx-serving/contracts';
import { type ReplicaRegistry, ServiceError, toGrpcError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { LeaseService } from '../leases/lease-service.ts';
import type { QosMetrics } from '../metrics.ts';
import type { ReportService } from '../reports/report-service.ts';

export type Gateways = ReplicaRegistry<QosLinkRequest, QosLinkResponse>;

export interface LinkHandlerOptions {
  readonly gateways: Gateways;
  readonly reports: ReportService;
  readonly leases: LeaseService;
  readonly metrics: QosMetrics;
}

type LinkHandler = Handlers<typeof Qos>['link'];
type LinkCall = Parameters<LinkHandler>[0];

/** Takes a gateway's link in: a hello first, then reports and acknowledgements. */
export function createLinkHandler(options: LinkHandlerOptions): LinkHandler {
  return (call) => {
    let replicaId: string | undefined;
    call.on('data', (request: QosLinkRequest) => {
      try {
        if (request.message.case === 'hello') replicaId = welcome(call, request.message.value.replicaId, replicaId, options);
        else receive(request, replicaId, options);
      } catch (error) {
        call.emit('error', toGrpcError(ServiceError.from(error)));
      }
    });
    call.on('end', () => call.end());
  };
}

function welcome(call: LinkCall, replicaId: string, former: string | undefined, { gateways, leases, metrics }: LinkHandlerOptions): string {
  if (former !== undefined) throw errors.HELLO_REPEATED();
  if (replicaId.length < 1 || replicaId.length > 128) throw errors.REPLICA_ID_INVALID();
  gateways.add(replicaId, call);
  const leave = (): void => {
    leases.forget(replicaId, call);
    metrics.linkedGateways.set(gateways.ids.length);
  };
  for (const event of ['cancelled', 'end', 'error']) call.once(event, leave);
  metrics.linkedGateways.set(gateways.ids.length);
  leases.lend(replicaId, call);
  return replicaId;
}

function receive({ message }: QosLinkRequest, replicaId: string | undefined, { reports, leases }: LinkHandlerOptions): void {
  if (replicaId === undefined) throw errors.HELLO_MISSING();
  if (message.case === 'reports') reports.ingest(message.value);
  if (message.case === 'acknowledgement') leases.acknowledge(replicaId, message.value.leaseId);
}
