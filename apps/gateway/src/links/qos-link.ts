import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Qos, type QosLinkRequest, QosLinkRequestSchema, type QosLinkResponse, type ServiceClient, type StreamReport } from '@mlx-serving/contracts';
import { Link, type Logger, ReportBuffer } from '@mlx-serving/service-kit';
import type { ConcurrencyLimit } from '../admission/concurrency-limit.ts';

export interface QosLinkOptions {
  readonly client: ServiceClient<typeof Qos>;
  readonly replicaId: string;
  readonly limit: ConcurrencyLimit;
  readonly onDropped: (count: number) => void;
  readonly logger: Logger;
}

/** The link to the QoS service: reports go up, a lease on the concurrency limit comes down. */
export class QosLink {
  readonly #options: QosLinkOptions;
  readonly #link: Link<QosLinkRequest, QosLinkResponse>;
  readonly #reports: ReportBuffer<StreamReport>;

  constructor(options: QosLinkOptions) {
    this.#options = options;
    this.#reports = new ReportBuffer<StreamReport>({
      send: ({ items, dropped }) => {
        const taken = this.#link.send(up({ case: 'reports', value: { reports: items, dropped: BigInt(dropped) } }));
        if (taken) options.onDropped(dropped);
        return taken;
      },
    });
    this.#link = new Link({
      name: 'qos',
      open: () => options.client.link(),
      hello: () => up({ case: 'hello', value: { replicaId: options.replicaId } }),
      onMessage: (message) => this.#receive(message),
      onConnected: () => this.#reports.flush(),
      logger: options.logger,
    });
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  start(): void {
    this.#link.start();
  }

  /** Lets what waits go up, then ends the link. */
  async stop(): Promise<void> {
    this.#reports.flush();
    this.#reports.stop();
    await this.#link.close();
  }

  report(report: StreamReport): void {
    this.#reports.add(report);
  }

  #receive({ message }: QosLinkResponse): void {
    if (message.case !== 'lease' || message.value.directive.case !== 'concurrencyLimit') return;
    this.#options.limit.lend({ limit: message.value.directive.value, ttlMs: message.value.ttlMs });
    this.#link.send(up({ case: 'acknowledgement', value: { leaseId: message.value.id } }));
  }
}

function up(message: NonNullable<MessageInitShape<typeof QosLinkRequestSchema>['message']>): QosLinkRequest {
  return create(QosLinkRequestSchema, { message });
}
