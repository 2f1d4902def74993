import type { ModelInfo, WorkerGenerateRequest } from '@mlx-serving/contracts';
import type { Variant } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { TokenStream, TokenStreamListener, TokenStreamOptions } from '../transport/token-transport.ts';
import { GrpcUpstream } from './grpc-upstream.ts';
import { OpenAiUpstream, parseOpenAiAddress } from './openai-upstream.ts';
import type { Upstream } from './upstream.ts';
import type { WorkerAccelerator } from './worker-accelerator.ts';

/** One worker: its server, whether it serves, and how many requests it has from this gateway. */
export class WorkerConnection {
  /** `host:port`, or the URL without secrets; also the id by which reports name the worker. */
  readonly address: string;
  readonly #upstream: Upstream;
  #outstanding = 0;

  constructor(address: string, variant: Variant, logger: Logger, onChange: () => void) {
    const http = /^https?:\/\//.test(address) ? parseOpenAiAddress(address) : undefined;
    this.address = http?.name ?? address;
    const changed = (serving: boolean): void => {
      logger.info({ worker: this.address, variant, serving }, serving ? 'worker serves' : 'worker does not serve');
      onChange();
    };
    this.#upstream = http ? new OpenAiUpstream(http, changed) : new GrpcUpstream(address, changed);
  }

  get serving(): boolean {
    return this.#upstream.serving;
  }

  /** Its TTFT accelerator, where it has one. */
  get accelerator(): WorkerAccelerator | undefined {
    return this.#upstream.accelerator;
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  start(): void {
    this.#upstream.start();
  }

  stop(): void {
    this.#upstream.stop();
  }

  /** Starts a request. `done` of the answer must be called once, when it is over. */
  generate(request: WorkerGenerateRequest, listener: TokenStreamListener, options?: TokenStreamOptions): { call: TokenStream; done: () => void } {
    this.#outstanding++;
    return { call: this.#upstream.open(request, listener, options), done: () => void this.#outstanding-- };
  }

  /** Tells it of a request that will come. @returns for how many milliseconds it remembers; undefined when it does nothing */
  async prepare(request: WorkerGenerateRequest): Promise<number | undefined> {
    return this.#upstream.prepare?.(request);
  }

  /** @returns the models it serves now; none when it does not answer in time */
  models(): Promise<readonly ModelInfo[]> {
    return this.#upstream.models();
  }
}
