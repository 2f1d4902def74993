import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Client, credentials, status } from '@grpc/grpc-js';
import { createServiceClient, Flags, type Handlers, type ServiceClient } from '@mlx-serving/contracts';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { defineErrors, ServiceError } from './errors.ts';
import { GrpcServer } from './grpc-server.ts';
import { StartupError } from './lifecycle-errors.ts';
import { silentLogger } from './logger.ts';

const errors = defineErrors({ QUEUE_FULL: { code: 'RESOURCE_EXHAUSTED', message: 'The queue is full.' } });
/** A handler for each method, for those that a test does not use. */
const unused = Object.fromEntries(Flags.methods.map((method) => [method.localName, () => Promise.reject(new Error('not used here'))])) as unknown as Handlers<typeof Flags>;

const logged: unknown[] = [];
const logger = { ...silentLogger, error: (fields: unknown) => void logged.push(fields) } as never;

let server: GrpcServer;
let port: number;
let client: ServiceClient<typeof Flags>;
let raw: Client;

beforeEach(async () => {
  logged.length = 0;
  server = new GrpcServer(logger).add(Flags, {
    ...unused,
    listFlags: () => Promise.resolve({ snapshot: { revision: 3n } }),
    getFlag: () => Promise.reject(errors.QUEUE_FULL({}, { retryAfterMs: 1500 })),
    setFlag: () => Promise.reject(new Error('password=hunter2')),
    link: (call) => void call.emit('error', { code: status.UNAVAILABLE, details: 'busy' }),
  });
  port = await server.start('127.0.0.1', 0);
  client = createServiceClient(Flags, `127.0.0.1:${port}`, { options: { 'grpc.max_send_message_length': -1 } });
  raw = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
});

afterEach(async () => {
  client.close();
  raw.close();
  await server.stop();
});

/** A call whose bytes are written and read by hand: what any client of any language sends. */
function callByHand(path: string, request: Buffer): Promise<Buffer> {
  const bytes = (value: Buffer): Buffer => value;
  return new Promise((resolve, reject) => raw.makeUnaryRequest(path, bytes, bytes, request, (error, answer) => (error ? reject(error) : resolve(answer as Buffer))));
}

/** A protobuf field of text: its tag, its length, its bytes. */
const textField = (field: number, value: string): Buffer => Buffer.concat([Buffer.from([(field << 3) | 2, value.length]), Buffer.from(value)]);

describe('GrpcServer', () => {
  it('answers health by service name, as probes and load balancers ask', async () => {
    const serving = Buffer.from([8, 1]);
    expect(await callByHand('/grpc.health.v1.Health/Check', Buffer.alloc(0))).toEqual(serving);
    expect(await callByHand('/grpc.health.v1.Health/Check', textField(1, 'mlx_serving.v1.Flags'))).toEqual(serving);
    await expect(callByHand('/grpc.health.v1.Health/Check', textField(1, 'nothing'))).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  it.each(['v1', 'v1alpha'])('lists its services and shows their files by reflection %s', async (version) => {
    const bytes = (value: Buffer): Buffer => value;
    const call = raw.makeBidiStreamRequest<Buffer, Buffer>(`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, bytes, bytes);
    call.write(textField(7, '*'));
    expect(String((await once(call, 'data'))[0])).toContain('mlx_serving.v1.Flags');
    call.write(textField(4, 'mlx_serving.v1.Flags'));
    const files = String((await once(call, 'data'))[0]);
    expect(files).toContain('mlx_serving/v1/flags.proto');
    expect(files).toContain('KillFlag');
    call.end();
    await once(call, 'end');
  });

  it('brings code, reason, message and the time to wait of a ServiceError to the client', async () => {
    const error = ServiceError.from(await client.getFlag({ name: 'x' }).catch((thrown: unknown) => thrown));
    expect(error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'QUEUE_FULL', message: 'The queue is full.', retryAfterMs: 1500 });
    expect(logged).toEqual([]);
  });

  it('hides an unexpected error from the client and logs it with the method', async () => {
    const thrown = await client.setFlag({}).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: status.INTERNAL });
    expect(String(thrown)).not.toContain('hunter2');
    expect(logged).toEqual([{ err: expect.objectContaining({ message: 'password=hunter2' }), path: '/mlx_serving.v1.Flags/SetFlag' }]);
  });

  it('refuses a message beyond its bound, and goes on serving', async () => {
    await expect(client.setFlag({ name: 'x'.repeat(5 * 1024 * 1024) })).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    expect((await client.listFlags({})).snapshot?.revision).toBe(3n);
  });

  it('answers a method that it does not have with UNIMPLEMENTED', async () => {
    await expect(callByHand('/mlx_serving.v1.Flags/Nothing', Buffer.alloc(0))).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
  });

  it('answers bytes that are no message with an error, and goes on serving', async () => {
    await expect(callByHand('/mlx_serving.v1.Flags/GetFlag', Buffer.from([0x0a, 0xff, 0xff]))).rejects.toMatchObject({ code: status.INTERNAL });
    expect((await client.listFlags({})).snapshot?.revision).toBe(3n);
  });

  it('rejects with one clear line when the port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const taken = (other.address() as { port: number }).port;
    await expect(new GrpcServer(silentLogger).start('127.0.0.1', taken)).rejects.toThrow(StartupError);
    other.close();
  });

  it('binds to IPv6 loopback too', async () => {
    const six = new GrpcServer(silentLogger);
    expect(await six.start('::1', 0)).toBeGreaterThan(0);
    await six.stop();
  });

  it('lets a running call end when it stops, and cancels one that does not end in time', async () => {
    let finish: (() => void) | undefined;
    const started: string[] = [];
    const slow = new GrpcServer(silentLogger).add(Flags, {
      ...unused,
      listFlags: () => new Promise((resolve) => {
        started.push('list');
        finish = () => resolve({ snapshot: { revision: 9n } });
      }),
      getFlag: () => new Promise(() => void started.push('get')),
    });
    const caller = createServiceClient(Flags, `127.0.0.1:${await slow.start('127.0.0.1', 0)}`);
    const running = caller.listFlags({});
    const hanging = caller.getFlag({}, { deadlineMs: 60_000 }).catch((error: unknown) => error);
    while (started.length < 2) await new Promise(setImmediate);
    const stopped = slow.stop(50);
    finish?.();
    expect((await running).snapshot?.revision).toBe(9n);
    await stopped;
    expect(await hanging).toMatchObject({ code: expect.any(Number) });
    caller.close();
  });
});
