import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Canary,
  type CanaryLinkRequest,
  CanaryLinkRequestSchema,
  type CanaryLinkResponse,
  type RoutingTable,
  type RoutingTableSchema,
  type ServiceClient,
  type StreamReport,
} from '@mlx-serving/contracts';
import { Link, type Logger, ReportBuffer } from '@mlx-serving/service-kit';
import type { RoutingStore } from '../decision/routing-store.ts';
import type { StateFile } from '../decision/state-file.ts';

export interface CanaryLinkOptions {
  readonly client: ServiceClient<typeof Canary>;
  readonly replicaId: string;
  readonly store: RoutingStore;
  readonly file: StateFile<typeof RoutingTableSchema>;
  readonly onApplied: (revision: bigint) => void;
  readonly onDropped: (count: number) => void;
  readonly logger: Logger;
}

/** The link to the canary service: reports go up, the routing table and the comparison come down. */
export class CanaryLink {
  readonly #options: CanaryLinkOptions;
  readonly #link: Link<CanaryLinkRequest, CanaryLinkResponse>;
  readonly #reports: ReportBuffer<StreamReport>;

  constructor(options: CanaryLinkOptions) {
    this.#options = options;
    this.#reports = new ReportBuffer<StreamReport>({
      send: ({ items, dropped }) => {
        const taken = this.#link.send(up({ case: 'reports', value: { reports: items, dropped: BigInt(dropped) } }));
        if (taken) options.onDropped(dropped);
        return taken;
      },
    });
    this.#link = new Link({
      name: 'canary',
      open: () => options.client.link(),
      hello: () => up({ case: 'hello', value: { replicaId: options.replicaId, routingRevision: options.store.table?.revision ?? 0n } }),
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

  #receive({ message }: CanaryLinkResponse): void {
    if (message.case === 'comparison') this.#options.store.comparison = message.value;
    if (message.case === 'routingTable') this.#applyTable(message.value);
  }

  #applyTable(table: RoutingTable): void {
    this.#options.store.table = table;
    this.#options.onApplied(table.revision);
    this.#link.send(up({ case: 'acknowledgement', value: { revision: table.revision } }));
    this.#options.file.save(table);
  }
}

function up(message: NonNullable<MessageInitShape<typeof CanaryLinkRequestSchema>['message']>): CanaryLinkRequest {
  return create(CanaryLinkRequestSchema, { message });
}
