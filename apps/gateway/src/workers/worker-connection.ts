import type { ModelInfo, WorkerGenerateRequest } from '@mlx-serving/contracts';
import type { Variant } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { TokenStream, TokenStreamListener, TokenStreamOptions } from '../transport/token-transport.ts';
import { GrpcUpstream } from './grpc-upstream.ts';
import { OpenAiUpstream, parseOpenAiAddress } from './openai-upstream.ts';
import type { Upstream } from './upstream.ts';
import type { WorkerAccelerator } from './worker-accelerator.ts';

/** One worker: its server, and whether it serves. */
export class WorkerConnection {
  /** `host:port`, or the URL without secrets; also the id by which reports name the worker. */
  readonly address: string;
  readonly #upstream: Upstream;

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

  /** Whether an answer can go on here from another worker's tokens, and elsewhere from its own. */
  get continues(): boolean {
    return this.#upstream.continues;
  }

  /** Its TTFT accelerator, where it has one. */
  get accelerator(): WorkerAccelerator | undefined {
    return this.#upstream.accelerator;
  }

  start(): void {
    this.#upstream.start();
  }

  stop(): void {
    this.#upstream.stop();
  }

  /** Starts a request. */
  generate(request: WorkerGenerateRequest, listener: TokenStreamListener, options?: TokenStreamOptions): TokenStream {
    return this.#upstream.open(request, listener, options);
  }

  /** Tells it of a request that will come. @returns for how many milliseconds it remembers; undefined when it does nothing */
  async prepare(request: WorkerGenerateRequest): Promise<number | undefined> {
    return this.#upstream.prepare?.(request);
  }

  /** Whether it answers a call in time, whatever it says. */
  answers(): Promise<boolean> {
    return this.#upstream.answers();
  }

  /** @returns the models it serves now; none when it does not answer in time */
  models(): Promise<readonly ModelInfo[]> {
    return this.#upstream.models();
  }
}
