import type { Handlers, Qos, QosHello, QosLinkRequest, QosLinkResponse } from '@mlx-serving/contracts';
import { type ReplicaRegistry, ServiceError, toGrpcError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { LeaseService } from '../leases/lease-service.ts';
import type { QosMetrics } from '../metrics.ts';
import type { ReportExchange } from '../reports/report-exchange.ts';
import type { ReportService } from '../reports/report-service.ts';

export type Gateways = ReplicaRegistry<QosLinkRequest, QosLinkResponse>;

export interface LinkHandlerOptions {
  readonly gateways: Gateways;
  readonly reports: ReportService;
  readonly exchange: Pick<ReportExchange, 'share'>;
  readonly leases: LeaseService;
  readonly metrics: QosMetrics;
}

type LinkHandler = Handlers<typeof Qos>['link'];
type LinkCall = Parameters<LinkHandler>[0];

/** Takes a gateway's link in: a hello first, then reports and acknowledgements. */
export function createLinkHandler(options: LinkHandlerOptions): LinkHandler {
  return (call) => {
    let gateway: Linked | undefined;
    call.on('data', (request: QosLinkRequest) => {
      try {
        if (request.message.case === 'hello') gateway = welcome(call, request.message.value, gateway, options);
        else receive(request, gateway, options);
      } catch (error) {
        call.emit('error', toGrpcError(ServiceError.from(error)));
      }
    });
    call.on('end', () => call.end());
  };
}

interface Linked {
  readonly replicaId: string;
  readonly epoch: string;
}

function welcome(call: LinkCall, { replicaId, epoch }: QosHello, former: Linked | undefined, { gateways, leases, metrics }: LinkHandlerOptions): Linked {
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
  return { replicaId, epoch };
}

function receive({ message }: QosLinkRequest, gateway: Linked | undefined, { reports, exchange, leases }: LinkHandlerOptions): void {
  if (gateway === undefined) throw errors.HELLO_MISSING();
  if (message.case === 'reports') {
    reports.ingest(gateway.replicaId, gateway.epoch, message.value);
    exchange.share(gateway.replicaId, gateway.epoch, message.value);
  }
  if (message.case === 'acknowledgement') leases.acknowledge(gateway.replicaId, message.value.leaseId);
}
