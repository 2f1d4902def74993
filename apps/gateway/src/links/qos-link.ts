import { randomUUID } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Qos, type QosLinkRequest, QosLinkRequestSchema, type QosLinkResponse, type ServiceClient } from '@mlx-serving/contracts';
import type { Logger } from '@mlx-serving/service-kit';
import type { TrafficControl } from '../admission/traffic-control.ts';
import type { EncodedReport } from '../reports/encode-report.ts';
import { ReportingLink } from './reporting-link.ts';

export interface QosLinkOptions {
  readonly client: ServiceClient<typeof Qos>;
  readonly replicaId: string;
  readonly control: TrafficControl;
  readonly onDropped: (count: number) => void;
  readonly logger: Logger;
}

/** The link to the QoS service: reports go up, leases on what the gateway may do come down. */
export class QosLink {
  readonly #options: QosLinkOptions;
  /** Reports are numbered within it. */
  readonly #epoch = randomUUID();
  readonly #link: ReportingLink<QosLinkRequest, QosLinkResponse>;

  constructor(options: QosLinkOptions) {
    this.#options = options;
    this.#link = new ReportingLink({
      name: 'qos',
      open: () => options.client.link(),
      hello: () => up({ case: 'hello', value: { replicaId: options.replicaId, epoch: this.#epoch } }),
      onMessage: (message) => this.#receive(message),
      reports: (value) => up({ case: 'reports', value }),
      onDropped: options.onDropped,
      logger: options.logger,
    });
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  start(): void {
    this.#link.start();
  }

  stop(): Promise<void> {
    return this.#link.stop();
  }

  report(report: EncodedReport): void {
    this.#link.report(report);
  }

  #receive({ message }: QosLinkResponse): void {
    if (message.case === 'revocation') this.#options.control.revoke(message.value.leaseId);
    if (message.case !== 'lease' || !this.#options.control.lend(message.value)) return;
    this.#link.send(up({ case: 'acknowledgement', value: { leaseId: message.value.id } }));
  }
}

function up(message: NonNullable<MessageInitShape<typeof QosLinkRequestSchema>['message']>): QosLinkRequest {
  return create(QosLinkRequestSchema, { message });
}
