import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  Canary,
  type CanaryComparison,
  CanaryLinkRequestSchema,
  type CanaryLinkResponse,
  createServiceClient,
  type RoutingTable,
  type StreamReportSchema,
} from '@mlx-serving/contracts';

type Request = MessageInitShape<typeof CanaryLinkRequestSchema>['message'];

/** A gateway's end of a real link to this service. */
export class FakeGateway {
  readonly client;
  readonly tables: RoutingTable[] = [];
  readonly comparisons: CanaryComparison[] = [];
  readonly #call;
  problem: (Error & { metadata?: { get(key: string): unknown[] } }) | undefined;
  ended = false;

  constructor(port: number, replicaId?: string, routingRevision = 0n) {
    this.client = createServiceClient(Canary, `127.0.0.1:${port}`);
    this.#call = this.client.link();
    this.#call.on('data', ({ message }: CanaryLinkResponse) => {
      if (message.case === 'routingTable') this.tables.push(message.value);
      if (message.case === 'comparison') this.comparisons.push(message.value);
    });
    this.#call.on('error', (error: Error) => (this.problem = error));
    this.#call.on('end', () => (this.ended = true));
    if (replicaId !== undefined) this.send({ case: 'hello', value: { replicaId, routingRevision } });
  }

  send(message: Request): void {
    this.#call.write(create(CanaryLinkRequestSchema, { message } as MessageInitShape<typeof CanaryLinkRequestSchema>));
  }

  report(reports: MessageInitShape<typeof StreamReportSchema>[], dropped = 0n): void {
    this.send({ case: 'reports', value: { reports, dropped } });
  }

  /** Ends the link as a gateway that stops does. */
  finish(): void {
    this.#call.end();
  }

  close(): void {
    this.#call.cancel();
    this.client.close();
  }
}
