import { create } from '@bufbuild/protobuf';
import { type Handlers, StatsResponseSchema, Worker } from '@mlx-serving/contracts';
import { GrpcServer, silentLogger } from '@mlx-serving/service-kit';

type Stats = Parameters<Handlers<typeof Worker>['stats']>[0];

/** A worker that only shows statistics, over real gRPC. */
export class FakeWorker {
  readonly #server: GrpcServer;
  readonly #calls = new Set<Stats>();
  readonly #workerId: string;
  batch = 8;
  /** For how long the batch is lent, in milliseconds; 0 for good. */
  batchTtlMs = 0;
  memoryLimitBytes = 0n;
  /** How often its limits were asked for or set. */
  asked = 0;

  constructor(workerId: string) {
    this.#workerId = workerId;
    const unused = (): never => {
      throw new Error('not part of this fake');
    };
    this.#server = new GrpcServer(silentLogger).add(Worker, {
      generate: unused,
      tokenize: unused,
      listModels: unused,
      drain: unused,
      loadModel: unused,
      unloadModel: unused,
      pinModel: unused,
      prepareKv: unused,
      prepare: unused,
      allowSpeculation: unused,
      setLimits: async ({ maxBatch, ttlMs }) => {
        this.asked++;
        if (maxBatch !== undefined) [this.batch, this.batchTtlMs] = [maxBatch, ttlMs];
        return { maxBatch: this.batch, ownMaxBatch: 8, memoryLimitBytes: this.memoryLimitBytes };
      },
      stats: (call) => {
        this.#calls.add(call);
        this.show(1);
      },
    });
  }

  start(port = 0): Promise<number> {
    return this.#server.start('127.0.0.1', port);
  }

  show(runningRequests: number, activeMemoryBytes = 0n): void {
    const message = create(StatsResponseSchema, { workerId: this.#workerId, runningRequests, residentMemoryBytes: 1024n, activeMemoryBytes, pid: 7 });
    for (const call of this.#calls) call.write(message);
  }

  async stop(): Promise<void> {
    for (const call of this.#calls) call.end();
    await this.#server.stop(50);
  }
}
