import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { createServiceClient, type Lease, Qos, QosLinkRequestSchema, type QosLinkResponse, type StreamReportSchema } from '@mlx-serving/contracts';

type Request = MessageInitShape<typeof QosLinkRequestSchema>['message'];

/** A gateway's end of a real link to this service. */
export class FakeGateway {
  readonly client;
  readonly leases: Lease[] = [];
  readonly revoked: string[] = [];
  readonly #call;
  problem: (Error & { code?: number; metadata?: { get(key: string): unknown[] } }) | undefined;
  ended = false;
  /** Numbered reports that were sent. */
  sent = 0n;

  constructor(port: number, replicaId?: string) {
    this.client = createServiceClient(Qos, `127.0.0.1:${port}`);
    this.#call = this.client.link();
    this.#call.on('data', ({ message }: QosLinkResponse) => {
      if (message.case === 'lease') this.leases.push(message.value);
      if (message.case === 'revocation') this.revoked.push(message.value.leaseId);
    });
    this.#call.on('error', (error: Error) => (this.problem = error));
    this.#call.on('end', () => (this.ended = true));
    if (replicaId !== undefined) this.send({ case: 'hello', value: { replicaId } });
  }

  send(message: Request): void {
    this.#call.write(create(QosLinkRequestSchema, { message } as MessageInitShape<typeof QosLinkRequestSchema>));
  }

  report(reports: MessageInitShape<typeof StreamReportSchema>[], dropped = 0n): void {
    this.send({ case: 'reports', value: { reports, dropped } });
  }

  /** Reports with their numbers, as gateways do. @returns the number of the first, to send them again with */
  reportNumbered(reports: MessageInitShape<typeof StreamReportSchema>[], firstSequence = this.sent + 1n): bigint {
    this.send({ case: 'reports', value: { reports, firstSequence } });
    if (firstSequence === this.sent + 1n) this.sent += BigInt(reports.length);
    return firstSequence;
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
