import { createServiceClient, type ModelInfo, type ServiceClient, Worker, type WorkerGenerateRequest, type WorkerListModelsResponse } from '@mlx-serving/contracts';
import { type ErrorCode, ServiceError } from '@mlx-serving/service-kit';
import { GrpcJsTransport } from '../transport/grpc-js-transport.ts';
import { Http2Transport } from '../transport/http2-transport.ts';
import { STREAM_WINDOW_BYTES, type TokenStream, type TokenStreamListener, type TokenStreamOptions } from '../transport/token-transport.ts';
import { HealthWatch } from './health-watch.ts';
import type { Upstream } from './upstream.ts';
import { WorkerAccelerator } from './worker-accelerator.ts';

const LIST_MODELS_LIMIT_MS = 1_000;
/** Codes of a call that nobody answered. */
const UNANSWERED: ReadonlySet<ErrorCode> = new Set(['DEADLINE_EXCEEDED', 'UNAVAILABLE', 'CANCELLED']);
const PREPARE_LIMIT_MS = 2_000;
/** The flag that chooses the transport of a request (SPEC T8). */
const LEAN_FLAG = 'http2_transport';

/** A worker that speaks gRPC: health, control calls and, without the flag, tokens over one channel; with it, tokens over the lean transport. */
export class GrpcUpstream implements Upstream {
  readonly accelerator: WorkerAccelerator;
  readonly continues = true;
  readonly #client: ServiceClient<typeof Worker>;
  readonly #health: HealthWatch;
  readonly #grpcJs: GrpcJsTransport;
  readonly #lean: Http2Transport;

  /** @param address `host:port` */
  constructor(address: string, onChange: (serving: boolean) => void) {
    // A bounded window, so that a stream that is not read cannot fill this process's memory.
    this.#client = createServiceClient(Worker, address, { options: { 'grpc-node.flow_control_window': STREAM_WINDOW_BYTES, 'grpc.use_local_subchannel_pool': 1 } });
    this.accelerator = new WorkerAccelerator(this.#client);
    this.#grpcJs = new GrpcJsTransport(this.#client.channel);
    this.#lean = new Http2Transport(address);
    this.#health = new HealthWatch(this.#client.channel, (serving) => {
      if (serving) this.#lean.prepare();
      onChange(serving);
    });
  }

  get serving(): boolean {
    return this.#health.serving;
  }

  start(): void {
    this.#health.start();
  }

  stop(): void {
    this.#health.stop();
    this.#lean.close();
    this.#client.close();
  }

  open(request: WorkerGenerateRequest, listener: TokenStreamListener, options?: TokenStreamOptions): TokenStream {
    const transport = request.enabledFlags.includes(LEAN_FLAG) ? this.#lean : this.#grpcJs;
    return transport.open(request, listener, options);
  }

  async prepare({ requestId, model, input, enabledFlags, tenant, ttftHint }: WorkerGenerateRequest): Promise<number | undefined> {
    try {
      const { warming, ttlMs } = await this.#client.prepare({ requestId, model, input, enabledFlags, tenant, ...(ttftHint ? { ttftHint } : {}) }, { deadlineMs: PREPARE_LIMIT_MS });
      return warming && ttlMs > 0 ? ttlMs : undefined;
    } catch {
      // It goes on cold.
      return undefined;
    }
  }

  async answers(): Promise<boolean> {
    try {
      await this.#listModels();
      return true;
    } catch (error) {
      return !UNANSWERED.has(ServiceError.from(error).code);
    }
  }

  async models(): Promise<readonly ModelInfo[]> {
    try {
      return (await this.#listModels()).models;
    } catch {
      return [];
    }
  }

  #listModels(): Promise<WorkerListModelsResponse> {
    return this.#client.listModels({}, { deadlineMs: LIST_MODELS_LIMIT_MS });
  }
}
