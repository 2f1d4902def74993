import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Canary, type CanaryHello, type CanaryLinkRequest, type CanaryLinkResponse, CanaryLinkResponseSchema, type Handlers } from '@mlx-serving/contracts';
import { type ReplicaRegistry, ServiceError, toGrpcError } from '@mlx-serving/service-kit';
import type { ComparisonService } from '../comparison/comparison-service.ts';
import { errors } from '../errors.ts';
import type { CanaryMetrics } from '../metrics.ts';
import type { RoutingService } from '../routing/routing-service.ts';

export type Gateways = ReplicaRegistry<CanaryLinkRequest, CanaryLinkResponse>;

export interface LinkHandlerOptions {
  readonly gateways: Gateways;
  readonly routing: RoutingService;
  readonly comparison: ComparisonService;
  /** Whether this replica judges: gateways link to the one that does. */
  readonly isActing: () => boolean;
  /** Called after each batch of reports. */
  readonly onBatch: () => void;
  /** Called with the canary's workers of a gateway; with none when its link has ended. */
  readonly onCanaryWorkers: (replicaId: string, addresses: readonly string[]) => void;
  readonly metrics: CanaryMetrics;
}

type LinkHandler = Handlers<typeof Canary>['link'];
type LinkCall = Parameters<LinkHandler>[0];

/** A message that goes down a link. */
export function directive(message: MessageInitShape<typeof CanaryLinkResponseSchema>['message']): CanaryLinkResponse {
  return create(CanaryLinkResponseSchema, { message } as MessageInitShape<typeof CanaryLinkResponseSchema>);
}

/** Takes a gateway's link in: a hello first, then reports and acknowledgements. */
export function createLinkHandler(options: LinkHandlerOptions): LinkHandler {
  return (call) => {
    let replicaId: string | undefined;
    call.on('data', ({ message }: CanaryLinkRequest) => {
      try {
        if (message.case === 'hello') replicaId = welcome(call, message.value, replicaId, options);
        else if (replicaId === undefined) throw errors.HELLO_MISSING();
        else if (message.case === 'reports') {
          options.comparison.ingest(message.value);
          options.onBatch();
        } else if (message.case === 'canaryWorkers') options.onCanaryWorkers(replicaId, message.value.addresses);
        else if (message.case === 'acknowledgement') options.gateways.acknowledge(replicaId, message.value.revision);
      } catch (error) {
        call.emit('error', toGrpcError(ServiceError.from(error)));
      }
    });
    call.on('end', () => call.end());
  };
}

function welcome(call: LinkCall, hello: CanaryHello, former: string | undefined, options: LinkHandlerOptions): string {
  const { replicaId, routingRevision } = hello;
  const { gateways, routing, comparison, metrics } = options;
  if (!options.isActing()) throw errors.NOT_ACTING();
  if (former !== undefined) throw errors.HELLO_REPEATED();
  if (replicaId.length < 1 || replicaId.length > 128) throw errors.REPLICA_ID_INVALID();
  gateways.add(replicaId, call);
  const count = (): void => metrics.linkedGateways.set(gateways.ids.length);
  const ended = (): void => {
    count();
    if (!gateways.ids.includes(replicaId)) options.onCanaryWorkers(replicaId, []);
  };
  for (const event of ['cancelled', 'end', 'error']) call.once(event, ended);
  count();
  call.write(directive({ case: 'routingTable', value: routing.table }));
  call.write(directive({ case: 'comparison', value: comparison.compare() }));
  void routing.heard(routingRevision);
  return replicaId;
}
