import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import type { DescService } from '@bufbuild/protobuf';
import { Canary, createServiceClient, Flags, Qos, type ServiceClient } from '@mlx-serving/contracts';
import { type App, assertBindable, type Logger, OperationsServer, portInUse } from '@mlx-serving/service-kit';
import { readOrCreateToken } from './access/admin-token.ts';
import type { AdminConfig } from './config.ts';
import { createHealth } from './health.ts';
import { createAdminMetrics } from './metrics.ts';
import { createServer, type Services } from './server.ts';

export interface AdminApp extends App {
  /** Reads the token's file again. */
  reload(): Promise<void>;
  /** Where it listens, once it was started. */
  readonly ports: { http: number; operations: number };
}

/** A change waits for acknowledgements; its answer must not be given up before. */
const DEADLINE_MS = 15_000;
/** Longest that grpc-js can keep an idle connection, so that readiness does not flap: about 24 days. */
const IDLE_MS = 2 ** 31 - 1;

/** Composes the admin service. Nothing is opened before `start`. */
export function createApp(config: AdminConfig, logger: Logger): AdminApp {
  assertBindable(config.host, config.trustedNetwork);
  const tokenFile = config.tokenFile || join(config.stateDirectory, 'admin-token');
  let token = '';
  const services: Services = {
    flags: connect(Flags, config.flagsAddress),
    qos: connect(Qos, config.qosAddress),
    canary: connect(Canary, config.canaryAddress),
  };
  const metrics = createAdminMetrics();
  const health = createHealth(services);
  const server = createServer({ services, health, metrics, logger, token: () => token });
  const operations = new OperationsServer({ host: config.host, port: config.operationsPort, registry: metrics.registry, health });
  const ports = { http: 0, operations: 0 };
  return {
    ports,
    async start() {
      token = await readOrCreateToken(tokenFile);
      ports.operations = await operations.start();
      await server.listen({ host: config.host, port: config.httpPort }).catch((error: NodeJS.ErrnoException) => {
        throw error.code === 'EADDRINUSE' ? portInUse(config.host, config.httpPort) : error;
      });
      ports.http = (server.server.address() as AddressInfo).port;
      logger.info({ port: ports.http, tokenFile }, 'the admin REST interface listens');
    },
    async stop() {
      await server.close();
      for (const service of Object.values(services)) (service as { close(): void }).close();
      await operations.stop();
    },
    async reload() {
      token = await readOrCreateToken(tokenFile);
    },
  };
}

function connect<S extends DescService>(service: S, address: string): ServiceClient<S> {
  return createServiceClient(service, address, { defaultDeadlineMs: DEADLINE_MS, options: { 'grpc.client_idle_timeout_ms': IDLE_MS } });
}
