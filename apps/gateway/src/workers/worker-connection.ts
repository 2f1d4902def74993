import type { ClientReadableStream } from '@grpc/grpc-js';
import { createServiceClient, type ModelInfo, type ServiceClient, Worker, type WorkerGenerateRequest, type WorkerGenerateResponse } from '@mlx-serving/contracts';
import type { Variant } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import { HealthWatch } from './health-watch.ts';

const LIST_MODELS_LIMIT_MS = 1_000;

/** The stream of one request at a worker. */
export type WorkerCall = ClientReadableStream<WorkerGenerateResponse>;

/** One worker: its channel, whether it serves, and how many requests it has from this gateway. */
export class WorkerConnection {
  /** `host:port`; also the id by which reports name the worker. */
  readonly address: string;
  readonly #client: ServiceClient<typeof Worker>;
  readonly #health: HealthWatch;
  #outstanding = 0;

  constructor(address: string, variant: Variant, logger: Logger, onChange: () => void) {
    this.address = address;
    // A bounded window, so that a stream that is not read cannot fill this process's memory.
    this.#client = createServiceClient(Worker, address, { options: { 'grpc-node.flow_control_window': 256 * 1024, 'grpc.use_local_subchannel_pool': 1 } });
    this.#health = new HealthWatch(this.#client.channel, (serving) => {
      logger.info({ worker: address, variant, serving }, serving ? 'worker serves' : 'worker does not serve');
      onChange();
    });
  }

  get serving(): boolean {
    return this.#health.serving;
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  start(): void {
    this.#health.start();
  }

  stop(): void {
    this.#health.stop();
    this.#client.close();
  }

  /** Starts a request. `done` of the answer must be called once when it is over. */
  generate(request: WorkerGenerateRequest): { call: WorkerCall; done: () => void } {
    this.#outstanding++;
    return { call: this.#client.generate(request), done: () => void this.#outstanding-- };
  }

  /** @returns the models it serves now; none when it does not answer in time */
  async models(): Promise<readonly ModelInfo[]> {
    try {
      return (await this.#client.listModels({}, { deadlineMs: LIST_MODELS_LIMIT_MS })).models;
    } catch {
      return [];
    }
  }
}
