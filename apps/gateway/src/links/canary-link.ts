import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Canary,
  type CanaryLinkRequest,
  CanaryLinkRequestSchema,
  type CanaryLinkResponse,
  type RoutingTable,
  type RoutingTableSchema,
  type ServiceClient,
} from '@mlx-serving/contracts';
import type { Logger } from '@mlx-serving/service-kit';
import type { RoutingStore } from '../decision/routing-store.ts';
import type { StateFile } from '../decision/state-file.ts';
import type { EncodedReport } from '../reports/encode-report.ts';
import { ReportingLink } from './reporting-link.ts';

export interface CanaryLinkOptions {
  readonly client: ServiceClient<typeof Canary>;
  readonly replicaId: string;
  readonly store: RoutingStore;
  readonly file: StateFile<typeof RoutingTableSchema>;
  /** Addresses of the canary's workers now. */
  readonly canaryWorkers: () => readonly string[];
  readonly onApplied: (revision: bigint) => void;
  readonly onDropped: (count: number) => void;
  readonly logger: Logger;
}

/** The link to the canary service: reports go up, the routing table and the comparison come down. */
export class CanaryLink {
  readonly #options: CanaryLinkOptions;
  readonly #link: ReportingLink<CanaryLinkRequest, CanaryLinkResponse>;
  /** What this connection has said of the canary's workers. */
  #told = '';

  constructor(options: CanaryLinkOptions) {
    this.#options = options;
    this.#link = new ReportingLink({
      name: 'canary',
      open: () => options.client.link(),
      hello: () => this.#hello(),
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

  #hello(): CanaryLinkRequest {
    const { replicaId, store } = this.#options;
    this.#told = '';
    return up({ case: 'hello', value: { replicaId, routingRevision: store.table?.revision ?? 0n } });
  }

  #receive({ message }: CanaryLinkResponse): void {
    this.#options.store.heard();
    this.#tellWorkers();
    if (message.case === 'comparison') this.#options.store.comparison = message.value;
    if (message.case === 'routingTable') this.#applyTable(message.value);
  }

  /** With every message that comes down, one a second at least: workers join and leave. */
  #tellWorkers(): void {
    const addresses = [...this.#options.canaryWorkers()];
    const told = addresses.join(' ');
    if (told !== this.#told && this.#link.send(up({ case: 'canaryWorkers', value: { addresses } }))) this.#told = told;
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
