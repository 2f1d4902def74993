import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import {
  Canary,
  type CanaryLinkRequest,
  type CanaryLinkResponse,
  CanaryLinkResponseSchema,
  Flags,
  type FlagsLinkRequest,
  type Handlers,
  type FlagsLinkResponse,
  FlagsLinkResponseSchema,
  type FlagSnapshotSchema,
  type Priority,
  Qos,
  type QosLinkRequest,
  type QosLinkResponse,
  QosLinkResponseSchema,
  type RoutingTableSchema,
} from '@mlx-serving/contracts';
import { GrpcServer, ServiceError, silentLogger } from '@mlx-serving/service-kit';
import { until } from './until.ts';

type Down<T> = NonNullable<T extends { message?: infer M } ? M : never>;
type Case<T, K> = Extract<T extends { message: infer M } ? M : never, { case: K }> extends { value: infer V } ? V : never;

/** The controller's end of one kind of link: keeps what came up, sends down what the test says. */
export abstract class FakeController<Up extends { message: { case: string | undefined } }, DownMessage> {
  readonly received: Up[] = [];
  port = 0;
  #server: GrpcServer | undefined;
  #call: ServerDuplexStream<Up, DownMessage> | undefined;

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get linked(): boolean {
    return this.#call !== undefined;
  }

  /** Starts, again on the same port after a kill. */
  async start(): Promise<this> {
    this.#server = this.serve(new GrpcServer(silentLogger), (call) => this.#link(call));
    this.port = await this.#server.start('127.0.0.1', this.port);
    return this;
  }

  async kill(): Promise<void> {
    await this.#server?.stop(0);
    this.#server = undefined;
    this.#call = undefined;
  }

  /** What came up of one kind, in order. */
  all<K extends NonNullable<Up['message']['case']>>(kind: K): Case<Up, K>[] {
    return this.received.flatMap(({ message }) => (message.case === kind ? [(message as unknown as { value: Case<Up, K> }).value] : []));
  }

  async until(condition: () => boolean): Promise<void> {
    await until(condition, `${condition.toString()} after ${this.received.map(({ message }) => message.case).join()}`);
  }

  protected write(message: DownMessage): void {
    if (!this.#call) throw new Error('nobody is linked');
    this.#call.write(message);
  }

  protected abstract serve(server: GrpcServer, link: (call: ServerDuplexStream<Up, DownMessage>) => void): GrpcServer;
  /** What a fresh link gets. */
  protected abstract greet(): void;

  #link(call: ServerDuplexStream<Up, DownMessage>): void {
    this.#call = call;
    call.on('error', () => undefined);
    call.on('end', () => call.end());
    call.on('data', (message: Up) => {
      this.received.push(message);
      if (message.message.case === 'hello') this.greet();
    });
  }
}

export class FakeFlags extends FakeController<FlagsLinkRequest, FlagsLinkResponse> {
  snapshot: MessageInitShape<typeof FlagSnapshotSchema> = { revision: 1n, flags: [] };

  /** A snapshot of flags by their definitions; `killed` ones are killed. */
  hold(revision: bigint, flags: Record<string, object>, killed: readonly string[] = [], emergency = {}): this {
    this.snapshot = {
      revision,
      flags: Object.entries(flags).map(([name, definition]) => ({
        name,
        definitionJson: JSON.stringify(definition),
        revision,
        ...(killed.includes(name) ? { kill: { actor: 'test', reason: 'test', atMs: 1n } } : {}),
      })),
      emergency,
      takenAtMs: BigInt(Date.now()),
    };
    return this;
  }

  send(message: Down<MessageInitShape<typeof FlagsLinkResponseSchema>>): void {
    this.write(create(FlagsLinkResponseSchema, { message }));
  }

  protected greet(): void {
    this.send({ case: 'snapshot', value: this.snapshot });
  }

  protected serve(server: GrpcServer, link: (call: ServerDuplexStream<FlagsLinkRequest, FlagsLinkResponse>) => void): GrpcServer {
    const none = () => Promise.reject(new ServiceError('UNIMPLEMENTED', 'FAKE', 'The fake has only the link.'));
    const others = Object.fromEntries(Flags.methods.map(({ localName }) => [localName, none]));
    return server.add(Flags, { ...others, link } as unknown as Handlers<typeof Flags>);
  }
}

export class FakeQos extends FakeController<QosLinkRequest, QosLinkResponse> {
  lease = { id: 'lease-1', ttlMs: 60_000, limit: 8 };

  lend(lease = this.lease): void {
    this.lease = lease;
    const { id, ttlMs, limit } = lease;
    this.write(create(QosLinkResponseSchema, { message: { case: 'lease', value: { id, ttlMs, directive: { case: 'concurrencyLimit', value: limit } } } }));
  }

  /** Has the gateway refuse a share of a class. */
  shed(priority: Priority, share: number, ttlMs = 60_000): void {
    this.write(create(QosLinkResponseSchema, { message: { case: 'lease', value: { id: `shed-${priority}`, ttlMs, directive: { case: 'shedLoad', value: { priority, share } } } } }));
  }

  /** Has the gateway keep work away from a worker. */
  open(workerId: string, ttlMs = 60_000): void {
    this.write(create(QosLinkResponseSchema, { message: { case: 'lease', value: { id: `open-${workerId}`, ttlMs, directive: { case: 'openCircuit', value: { workerId } } } } }));
  }

  protected greet(): void {
    this.lend();
  }

  protected serve(server: GrpcServer, link: (call: ServerDuplexStream<QosLinkRequest, QosLinkResponse>) => void): GrpcServer {
    const empty = () => Promise.resolve({});
    return server.add(Qos, { link, getState: empty, listPolicies: empty, listActions: empty, explainAction: empty, getRecording: empty, replayPolicies: empty });
  }
}

export class FakeCanary extends FakeController<CanaryLinkRequest, CanaryLinkResponse> {
  table: MessageInitShape<typeof RoutingTableSchema> = { revision: 1n, enabled: false, rolloutPercentage: 0, strategy: 'hash', hashKey: 'user_id', hashSeed: 'canary' };

  send(message: Down<MessageInitShape<typeof CanaryLinkResponseSchema>>): void {
    this.write(create(CanaryLinkResponseSchema, { message }));
  }

  route(table: MessageInitShape<typeof RoutingTableSchema>): void {
    this.table = { ...this.table, ...table };
    this.send({ case: 'routingTable', value: this.table });
  }

  protected greet(): void {
    this.send({ case: 'routingTable', value: this.table });
  }

  protected serve(server: GrpcServer, link: (call: ServerDuplexStream<CanaryLinkRequest, CanaryLinkResponse>) => void): GrpcServer {
    return server.add(Canary, { link, getState: () => Promise.resolve({ routingTable: this.table }), control: () => Promise.resolve({}), plan: () => Promise.resolve({}) });
  }
}
