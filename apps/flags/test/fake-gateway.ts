import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { createServiceClient, type FlagDelta, Flags, type FlagsLinkRequest, FlagsLinkRequestSchema, type FlagsLinkResponse, type FlagSnapshot } from '@mlx-serving/contracts';
import type { ClientDuplexStream } from '@grpc/grpc-js';

/** A gateway's end of a link that notes what comes down, and acknowledges it unless it is told not to. */
export class FakeGateway {
  readonly received: FlagsLinkResponse[] = [];
  acknowledges = true;
  error: Error | undefined;
  readonly #client;
  readonly #stream: ClientDuplexStream<FlagsLinkRequest, FlagsLinkResponse>;
  readonly #waiting = new Set<() => void>();

  constructor(address: string, replicaId: string) {
    this.#client = createServiceClient(Flags, address);
    this.#stream = this.#client.link();
    this.#stream.on('error', (error) => {
      this.error = error;
      this.#wake();
    });
    this.#stream.on('end', () => this.#wake());
    this.#stream.on('data', (message: FlagsLinkResponse) => {
      this.received.push(message);
      const { case: kind, value } = message.message;
      const revision = kind === 'snapshot' || kind === 'delta' ? value.revision : undefined;
      if (this.acknowledges && revision !== undefined) this.send({ case: 'acknowledgement', value: { revision } });
      this.#wake();
    });
    this.send({ case: 'hello', value: { replicaId } });
  }

  get snapshots(): FlagSnapshot[] {
    return this.received.flatMap(({ message }) => (message.case === 'snapshot' ? [message.value] : []));
  }

  get deltas(): FlagDelta[] {
    return this.received.flatMap(({ message }) => (message.case === 'delta' ? [message.value] : []));
  }

  send(message: NonNullable<MessageInitShape<typeof FlagsLinkRequestSchema>['message']>): void {
    this.#stream.write(create(FlagsLinkRequestSchema, { message }));
  }

  /** Waits until something holds; it is asked again with each message and at the end of the link. */
  async until<T>(found: () => T | undefined | false): Promise<T> {
    for (;;) {
      const value = found();
      if (value !== undefined && value !== false) return value;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** The first delta that changes a flag, from a place in the list on. */
  deltaOf(name: string, from = 0): Promise<FlagDelta> {
    return this.until(() => this.deltas.slice(from).find((delta) => delta.changed.some((flag) => flag.name === name) || delta.removed.includes(name)));
  }

  close(): void {
    this.#stream.cancel();
    this.#client.close();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    waiting.forEach((wake) => wake());
  }
}
