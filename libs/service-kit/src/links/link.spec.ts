import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { create } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  addService,
  createServiceClient,
  type Handlers,
  Qos,
  type QosLinkRequest,
  QosLinkRequestSchema,
  type QosLinkResponse,
  QosLinkResponseSchema,
  type ServiceClient,
} from '@mlx-serving/contracts';
import { ServiceError, toGrpcError } from '../errors.ts';
import { silentLogger } from '../logger.ts';
import { Link } from './link.ts';

type Call = ServerDuplexStream<QosLinkRequest, QosLinkResponse>;

/** A controller that greets each link with a lease and keeps what came up. */
class Controller {
  readonly calls: Call[] = [];
  readonly received: (string | undefined)[] = [];
  #server = new Server();
  #waiting: (() => void)[] = [];
  port = 0;

  async start(): Promise<void> {
    this.#server = new Server();
    const link = (call: Call): void => {
      this.calls.push(call);
      call.on('error', () => undefined);
      call.on('data', (message: QosLinkRequest) => {
        this.received.push(message.message.case);
        if (message.message.case === 'hello') this.lend(call, message.message.value.replicaId);
        this.#waiting.splice(0).forEach((wake) => wake());
      });
    };
    const unused = Object.fromEntries(Qos.methods.map((method) => [method.localName, () => Promise.resolve({})])) as unknown as Handlers<typeof Qos>;
    addService(this.#server, Qos, { ...unused, link }, (cause) => toGrpcError(ServiceError.from(cause)));
    this.port = await new Promise((resolve, reject) =>
      this.#server.bindAsync(`127.0.0.1:${this.port}`, ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))),
    );
  }

  lend(call: Call | undefined, id: string): void {
    call?.write(create(QosLinkResponseSchema, { message: { case: 'lease', value: { id } } }));
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  kill(): void {
    this.#server.forceShutdown();
  }
}

let controller: Controller;
let client: ServiceClient<typeof Qos>;
let link: Link<QosLinkRequest, QosLinkResponse>;
let came: string[];
let connections: number;
let wake: () => void;

const up = (id: string): QosLinkRequest => create(QosLinkRequestSchema, { message: { case: 'acknowledgement', value: { leaseId: id } } });

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise<void>((resolve) => (wake = resolve));
}

beforeEach(async () => {
  controller = new Controller();
  await controller.start();
  came = [];
  connections = 0;
  wake = () => undefined;
  client = createServiceClient(Qos, `127.0.0.1:${controller.port}`);
  link = new Link({
    name: 'qos',
    open: () => client.link(),
    hello: () => create(QosLinkRequestSchema, { message: { case: 'hello', value: { replicaId: `replica-${connections}` } } }),
    onMessage: (message) => {
      const id = message.message.case === 'lease' ? message.message.value.id : '';
      came.push(id);
      wake();
      if (id === 'poison') throw new Error('cannot be used');
    },
    onConnected: () => {
      connections++;
      wake();
    },
    logger: silentLogger,
  });
});

afterEach(() => {
  link.stop();
  client.close();
  controller.kill();
});

describe('Link', () => {
  it('says hello first, and is connected once the controller has answered', async () => {
    link.start();
    expect([link.connected, link.send(up('early'))]).toEqual([false, false]);
    await until(() => connections === 1);
    expect([link.connected, link.send(up('late'))]).toEqual([true, true]);
    await controller.until(() => controller.received.length === 2);
    expect(controller.received).toEqual(['hello', 'acknowledgement']);
    expect(came).toEqual(['replica-0']);
  });

  it('connects by itself when the controller comes up after it', async () => {
    controller.kill();
    link.start();
    await controller.start();
    await until(() => connections === 1);
    expect(link.connected).toBe(true);
  });

  it('links again with a fresh hello when the controller was restarted, and holds what came down meanwhile', async () => {
    link.start();
    await until(() => connections === 1);
    controller.kill();
    await controller.start();
    await until(() => connections === 2);
    expect(came).toEqual(['replica-0', 'replica-1']);
    expect(controller.received).toEqual(['hello', 'hello']);
  });

  it('links again when the controller ends the link politely', async () => {
    link.start();
    await until(() => connections === 1);
    controller.calls[0]?.end();
    await until(() => connections === 2);
    expect(link.connected).toBe(true);
  });

  it('links again when the controller answers with an error', async () => {
    link.start();
    await until(() => connections === 1);
    controller.calls[0]?.emit('error', toGrpcError(new ServiceError('UNAVAILABLE', 'STOPPING', 'Stopping.')));
    await until(() => connections === 2);
    expect(link.connected).toBe(true);
  });

  it('survives a message that cannot be used', async () => {
    link.start();
    await until(() => connections === 1);
    controller.lend(controller.calls[0], 'poison');
    controller.lend(controller.calls[0], 'after');
    await until(() => came.length === 3);
    expect([came, connections, link.connected]).toEqual([['replica-0', 'poison', 'after'], 1, true]);
  });

  it('takes nothing and does not come back once it is stopped', async () => {
    link.start();
    await until(() => connections === 1);
    const cancelled = once(controller.calls[0] as Call, 'cancelled');
    link.stop();
    await cancelled;
    expect([link.connected, link.send(up('x')), controller.calls.length]).toEqual([false, false, 1]);
  });

  it('can answer the very first message while it is being used', async () => {
    let taken: boolean | undefined;
    const eager = new Link<QosLinkRequest, QosLinkResponse>({
      name: 'qos',
      open: () => client.link(),
      hello: () => create(QosLinkRequestSchema, { message: { case: 'hello', value: { replicaId: 'eager' } } }),
      onMessage: () => (taken = eager.send(up('now'))),
      logger: silentLogger,
    });
    eager.start();
    await controller.until(() => controller.received.includes('acknowledgement'));
    expect(taken).toBe(true);
    eager.stop();
  });

  it('lets what was sent arrive when it is closed', async () => {
    link.start();
    await until(() => connections === 1);
    for (let index = 0; index < 5; index++) link.send(up(String(index)));
    const call = controller.calls[0] as Call;
    call.once('end', () => call.end());
    await link.close(60_000);
    expect([controller.received.length, link.connected, link.send(up('x'))]).toEqual([6, false, false]);
  });

  it('is closed by the end of its time by a controller that does not end its side', async () => {
    link.start();
    await until(() => connections === 1);
    await link.close(1);
    expect([link.connected, link.send(up('x'))]).toEqual([false, false]);
  });
});
