import type { DescService } from '@bufbuild/protobuf';
import { type ServerOptions, Server, ServerCredentials } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import { addService, fileDescriptors, type Handlers } from '@mlx-serving/contracts';
import { ServiceError, toGrpcError } from './errors.ts';
import { portInUse } from './lifecycle-errors.ts';
import type { Logger } from './logger.ts';

/** Bounds of every gRPC server: message size, keepalive, streams of one connection. */
const serverOptions: ServerOptions = {
  'grpc.max_receive_message_length': 4 * 1024 * 1024,
  'grpc.max_send_message_length': 64 * 1024 * 1024,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.max_concurrent_streams': 4_096,
};

/** A gRPC server with health, reflection and one way of turning what is thrown into a status. */
export class GrpcServer {
  readonly #server = new Server(serverOptions);
  readonly #health = new HealthImplementation({ '': 'NOT_SERVING' });
  readonly #services: DescService[] = [];
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  add<S extends DescService>(service: S, handlers: Handlers<S>): this {
    this.#services.push(service);
    addService(this.#server, service, handlers, (cause, path) => this.#toError(cause, path));
    return this;
  }

  /** @returns the port it listens on, which matters when 0 was asked for. */
  async start(host: string, port: number): Promise<number> {
    this.#health.addToServer(this.#server);
    reflection(this.#services).addToServer(this.#server);
    const bound = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(`${host.includes(':') ? `[${host}]` : host}:${port}`, ServerCredentials.createInsecure(), (error, actual) =>
        error ? reject(/EADDRINUSE|No address added/.test(error.message) ? portInUse(host, port) : error) : resolve(actual),
      );
    });
    this.#setServing('SERVING');
    return bound;
  }

  /** Says that it does not serve any more, so that callers go elsewhere. Calls are taken as before: who answers them refuses the new ones. */
  leave(): void {
    this.#setServing('NOT_SERVING');
  }

  /** Lets running calls end for `graceMs`, then cancels them. */
  async stop(graceMs = 2_000): Promise<void> {
    this.leave();
    const force = setTimeout(() => this.#server.forceShutdown(), graceMs);
    await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    clearTimeout(force);
  }

  #setServing(status: 'SERVING' | 'NOT_SERVING'): void {
    for (const name of ['', ...this.#services.map((service) => service.typeName)]) this.#health.setStatus(name, status);
  }

  #toError(cause: unknown, path: string): ReturnType<typeof toGrpcError> {
    const error = ServiceError.from(cause);
    if (error.code === 'INTERNAL') this.#logger.error({ err: error.cause ?? error, path }, 'a call failed unexpectedly');
    return toGrpcError(error);
  }
}

/** The reflection package reads only `fileDescriptorProtos` of a proto-loader definition, so that is all it gets. */
function reflection(services: readonly DescService[]): ReflectionService {
  const definition = { type: {}, format: '', fileDescriptorProtos: fileDescriptors(services) };
  return new ReflectionService({ descriptors: definition } as never, { services: services.map((service) => service.typeName) });
}
