import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AllowSpeculationRequestSchema, ServiceClient, StatsResponse, Worker } from '@mlx-serving/contracts';

const LIMIT_MS = 2_000;

/** What the gateway asks a worker about its TTFT accelerator. A worker that does not answer in time is passed over. */
export class WorkerAccelerator {
  readonly #client: Pick<ServiceClient<typeof Worker>, 'stats' | 'allowSpeculation'>;

  constructor(client: Pick<ServiceClient<typeof Worker>, 'stats' | 'allowSpeculation'>) {
    this.#client = client;
  }

  /** The worker at this moment. */
  async stats(): Promise<StatsResponse | undefined> {
    const call = this.#client.stats({}, { deadlineMs: LIMIT_MS });
    try {
      for await (const stats of call as AsyncIterable<StatsResponse>) return stats;
    } catch {
      // Counted as a worker without statistics.
    } finally {
      call.cancel();
    }
    return undefined;
  }

  /** @returns whether the worker has taken the prompt */
  async allow(request: MessageInitShape<typeof AllowSpeculationRequestSchema>): Promise<boolean> {
    try {
      await this.#client.allowSpeculation(request, { deadlineMs: LIMIT_MS });
      return true;
    } catch {
      return false;
    }
  }
}
