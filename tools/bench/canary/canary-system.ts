import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create } from '@bufbuild/protobuf';
import { Canary, createServiceClient, RoutingTableSchema, type ServiceClient, StreamOutcome, StreamReportSchema } from '@mlx-serving/contracts';
import { silentLogger } from '@mlx-serving/service-kit';
import { startRedis, until } from '@mlx-serving/testing';
import { RoutingStore } from '../../../apps/gateway/src/decision/routing-store.ts';
import { StateFile } from '../../../apps/gateway/src/decision/state-file.ts';
import { CanaryLink } from '../../../apps/gateway/src/links/canary-link.ts';
import { encodeReport } from '../../../apps/gateway/src/reports/encode-report.ts';
import { freePorts, ServiceProcess } from '../service-process.ts';

const SHIPPED = fileURLToPath(new URL('../../../config/canary.yaml', import.meta.url));

interface Gateway {
  readonly store: RoutingStore;
  readonly link: CanaryLink;
}

/** The canary service as a process on a Redis of its own, and the part of so many gateways that follows it. */
export class CanarySystem {
  readonly #gateways: Gateway[] = [];
  readonly #client: ServiceClient<typeof Canary>;
  readonly #service: ServiceProcess;
  readonly #closing: (() => unknown)[] = [];
  #sent = 0;

  private constructor(service: ServiceProcess, address: string) {
    this.#service = service;
    this.#client = createServiceClient(Canary, address);
  }

  static async start(gateways: number): Promise<CanarySystem> {
    const [redis, folder, [grpc = 0, operations = 0]] = await Promise.all([startRedis(), mkdtemp(join(tmpdir(), 'canary-bench-')), freePorts(2)]);
    const text = (await readFile(SHIPPED, 'utf8')).replace('hashKey: user_id', 'hashKey: request_id');
    await writeFile(join(folder, 'canary.yaml'), text);
    const ports = { MLX_SERVING_CANARY_GRPC_PORT: String(grpc), MLX_SERVING_CANARY_OPERATIONS_PORT: String(operations) };
    const service = await ServiceProcess.start('canary', operations, { ...ports, MLX_SERVING_CONFIG_DIR: folder, MLX_SERVING_CANARY_WORKERS: '127.0.0.1:9', REDIS_URL: redis.url });
    const system = new CanarySystem(service, `127.0.0.1:${grpc}`);
    system.#closing.push(() => rm(folder, { recursive: true, force: true }), () => redis.dispose(), () => service.stop());
    for (let index = 0; index < gateways; index++) system.#link(`127.0.0.1:${grpc}`, folder, `gateway-${index}`);
    await until(() => system.#gateways.every(({ store }) => store.table !== undefined));
    return system;
  }

  async deploy(percentage: number): Promise<void> {
    await until(async () =>
      this.#client.control({ action: { case: 'deploy', value: { percentage } }, force: true }).then(
        () => true,
        () => false,
      ),
    );
    await until(() => this.#gateways.every(({ store }) => store.percentage === percentage));
  }

  rollBack(): void {
    void this.#client.control({ action: { case: 'rollback', value: {} } });
  }

  /** So many failed requests of the canary, which the service then has in its evidence. */
  async failRequests(count: number): Promise<void> {
    for (let index = 0; index < count; index++) this.failRequest();
    await until(async () => Number((await this.#client.getState({})).rollout?.judgement?.canaryUnits ?? 0) === count);
  }

  failRequest(): void {
    const gateway = this.#gateways[0];
    const decision = { requestId: `r${++this.#sent}`, variant: 'canary', variantReason: 'IN_CANARY_SHARE', routingRevision: gateway?.store.table?.revision ?? 0n };
    gateway?.link.report(encodeReport(create(StreamReportSchema, { decision, gatewayId: 'gateway-0', workerId: 'w', outcome: StreamOutcome.FAILED, durationMs: 1 })));
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#service.signal(name);
  }

  /** Milliseconds from an act until no gateway sends anybody to the canary. @throws Error when that was so before */
  async untilNothing(act: () => void): Promise<number> {
    if (this.#gateways.some(({ store }) => store.percentage === 0)) throw new Error('A gateway has nothing to take back.');
    const began = performance.now();
    act();
    while (this.#gateways.some(({ store }) => store.percentage > 0)) await new Promise((resolve) => setImmediate(resolve));
    return performance.now() - began;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#gateways.map(({ link }) => link.stop()));
    this.#client.close();
    for (const close of this.#closing.reverse()) await close();
  }

  #link(address: string, folder: string, replicaId: string): void {
    const client = createServiceClient(Canary, address, { options: { 'grpc.use_local_subchannel_pool': 1 } });
    const store = new RoutingStore();
    const file = new StateFile(RoutingTableSchema, join(folder, `${replicaId}.json`), silentLogger);
    const link = new CanaryLink({ client, replicaId, store, file, canaryWorkers: () => [], onApplied: () => undefined, onDropped: () => undefined, logger: silentLogger });
    link.start();
    this.#gateways.push({ store, link });
    this.#closing.push(async () => {
      await file.settled();
      client.close();
    });
  }
}
