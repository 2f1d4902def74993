import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { create, type DescService } from '@bufbuild/protobuf';
import { once } from 'node:events';
import { Server, ServerCredentials, type ServerDuplexStream, type ServerWritableStream, status } from '@grpc/grpc-js';
import {
  addService,
  createServiceClient,
  encodeOnce,
  Flags,
  type FlagsLinkRequest,
  FlagsLinkRequestSchema,
  type FlagsLinkResponse,
  FlagsLinkResponseSchema,
  type Handlers,
  type ServiceClient,
  type StatsRequest,
  type StatsResponse,
  StatsResponseSchema,
  Worker,
} from '../index.ts';

/** A handler for each method, for those that a test does not use. */
function unused<S extends DescService>(service: S): Handlers<S> {
  return Object.fromEntries(service.methods.map((method) => [method.localName, () => Promise.reject(new Error('not used here'))])) as unknown as Handlers<S>;
}

let server: Server;
let flags: ServiceClient<typeof Flags>;
let worker: ServiceClient<typeof Worker>;
let behaviour: {
  list: () => Promise<unknown>;
  stats: (call: ServerWritableStream<StatsRequest, StatsResponse>) => Promise<void> | void;
  link: (call: ServerDuplexStream<FlagsLinkRequest, FlagsLinkResponse>) => Promise<void> | void;
};
let paths: string[];

beforeEach(async () => {
  paths = [];
  behaviour = { list: () => Promise.resolve({}), stats: (call) => void call.end(), link: (call) => void call.end() };
  server = new Server();
  const toGrpcError = (cause: unknown, path: string) => {
    paths.push(path);
    return { code: status.FAILED_PRECONDITION, details: cause instanceof Error ? cause.message : 'unknown' };
  };
  addService(server, Flags, { ...unused(Flags), listFlags: () => behaviour.list() as never, link: (call) => behaviour.link(call) }, toGrpcError);
  addService(server, Worker, { ...unused(Worker), stats: (call) => behaviour.stats(call) }, toGrpcError);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  flags = createServiceClient(Flags, `127.0.0.1:${port}`);
  worker = createServiceClient(Worker, `127.0.0.1:${port}`);
});

afterEach(() => {
  flags.close();
  worker.close();
  server.forceShutdown();
});

describe('a unary call', () => {
  it('carries whole messages both ways, 64-bit numbers included', async () => {
    behaviour.list = () => Promise.resolve({ snapshot: { revision: 2n ** 63n, flags: [{ name: 'a', kill: { actor: 'me', atMs: -1n } }] } });
    const { snapshot } = await flags.listFlags({});
    expect([snapshot?.revision, snapshot?.flags[0]?.kill]).toEqual([2n ** 63n, expect.objectContaining({ actor: 'me', atMs: -1n })]);
    expect(snapshot?.flags[0]?.definitionJson).toBe('');
  });

  it.each([
    ['rejects', () => Promise.reject(new Error('no'))],
    ['throws', () => { throw new Error('no'); }],
  ])('ends with the translated error and the path when its handler %s', async (_, list) => {
    behaviour.list = list;
    await expect(flags.listFlags({})).rejects.toMatchObject({ code: status.FAILED_PRECONDITION, details: 'no' });
    expect(paths).toEqual(['/mlx_serving.v1.Flags/ListFlags']);
  });

  it('ends with an error when its handler answers what is no such message', async () => {
    behaviour.list = () => Promise.resolve({ snapshot: { revision: 'seven' } });
    await expect(flags.listFlags({})).rejects.toMatchObject({ code: expect.any(Number) });
  });

  it('ends at its deadline', async () => {
    behaviour.list = () => new Promise(() => undefined);
    await expect(flags.listFlags({}, { deadlineMs: 20 })).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
  });

  it('ends at the deadline of its client when the call names none', async () => {
    behaviour.list = () => new Promise(() => undefined);
    const impatient = createServiceClient(Flags, flags.channel.getChannel().getTarget().replace(/^dns:/, ''), { defaultDeadlineMs: 20 });
    await expect(impatient.listFlags({})).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
    impatient.close();
  });

  it('is cancelled by its signal, before it starts and while it runs', async () => {
    await expect(flags.listFlags({}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: status.CANCELLED });
    const controller = new AbortController();
    behaviour.list = () => {
      controller.abort();
      return new Promise(() => undefined);
    };
    await expect(flags.listFlags({}, { signal: controller.signal })).rejects.toMatchObject({ code: status.CANCELLED });
  });

  it('leaves no listener on a signal that outlives it', async () => {
    const controller = new AbortController();
    let listening = 0;
    const add = controller.signal.addEventListener.bind(controller.signal);
    const remove = controller.signal.removeEventListener.bind(controller.signal);
    controller.signal.addEventListener = ((...given: Parameters<typeof add>) => (listening++, add(...given)));
    controller.signal.removeEventListener = ((...given: Parameters<typeof remove>) => (listening--, remove(...given)));
    for (let call = 0; call < 20; call++) await flags.listFlags({}, { signal: controller.signal });
    await new Promise(setImmediate);
    expect(listening).toBe(0);
  });
});

describe('a server stream', () => {
  it('brings messages in order, then ends', async () => {
    behaviour.stats = (call) => {
      for (const pid of [1, 2, 3]) call.write(create(StatsResponseSchema, { pid, workerId: String(call.request.intervalMs) }));
      call.end();
    };
    const seen: string[] = [];
    for await (const message of worker.stats({ intervalMs: 100 }) as AsyncIterable<StatsResponse>) seen.push(`${message.workerId}/${message.pid}`);
    expect(seen).toEqual(['100/1', '100/2', '100/3']);
  });

  it('brings what was sent before its handler failed, then the error', async () => {
    behaviour.stats = async (call) => {
      call.write(create(StatsResponseSchema, { pid: 1 }));
      throw new Error('lost');
    };
    const seen: number[] = [];
    const call = worker.stats({}).on('data', (message: StatsResponse) => seen.push(message.pid));
    const [error] = await once(call as never, 'close').then(() => [undefined], (thrown: unknown) => [thrown]);
    expect([seen, error]).toEqual([[1], expect.objectContaining({ code: status.FAILED_PRECONDITION, details: 'lost' })]);
    expect(paths).toEqual(['/mlx_serving.v1.Worker/Stats']);
  });

  it('tells its handler when the caller aborts', async () => {
    const controller = new AbortController();
    const cancelled = new Promise<void>((resolve) => {
      behaviour.stats = (call) => {
        call.once('cancelled', resolve);
        call.write(create(StatsResponseSchema, {}));
      };
    });
    const call = worker.stats({}, { signal: controller.signal }).on('error', () => undefined);
    await once(call, 'data');
    controller.abort();
    await cancelled;
  });

  it('has no deadline unless the call names one', async () => {
    behaviour.stats = () => undefined;
    const [error] = (await once(worker.stats({}, { deadlineMs: 20 }), 'error')) as [unknown];
    expect(error).toMatchObject({ code: status.DEADLINE_EXCEEDED });
  });
});

describe('a stream both ways', () => {
  it('answers each message while the caller still sends', async () => {
    behaviour.link = (call) => {
      call.on('data', (message: FlagsLinkRequest) => {
        const revision = message.message.case === 'acknowledgement' ? message.message.value.revision : 0n;
        call.write(create(FlagsLinkResponseSchema, { message: { case: 'delta', value: { revision } } }));
      });
      call.on('end', () => call.end());
    };
    const call = flags.link();
    for (const revision of [1n, 2n, 3n]) {
      call.write(create(FlagsLinkRequestSchema, { message: { case: 'acknowledgement', value: { revision } } }));
      const [answer] = (await once(call, 'data')) as [FlagsLinkResponse];
      expect(answer.message.value).toMatchObject({ revision });
    }
    call.end();
    await once(call, 'end');
  });

  it('sends a message that was encoded once on every stream, with what it held then', async () => {
    const message = create(FlagsLinkResponseSchema, { message: { case: 'delta', value: { revision: 7n } } });
    encodeOnce(FlagsLinkResponseSchema, message);
    // Shows that it is not encoded again.
    message.message = { case: undefined };
    behaviour.link = (call) => void call.write(message);
    const calls = [flags.link(), flags.link()];
    const answers = await Promise.all(calls.map(async (call) => ((await once(call, 'data')) as [FlagsLinkResponse])[0]));
    expect(answers.map(({ message: { value } }) => value)).toEqual([expect.objectContaining({ revision: 7n }), expect.objectContaining({ revision: 7n })]);
    for (const call of calls) {
      call.once('error', () => undefined);
      call.cancel();
    }
  });
});

describe('addService', () => {
  it('refuses a service with a method that nobody handles', () => {
    expect(() => addService(new Server(), Flags, {} as never, () => ({}))).toThrow('mlx_serving.v1.Flags has no handler for Link');
  });
});
