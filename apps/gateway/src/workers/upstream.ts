import type { ModelInfo, WorkerGenerateRequest } from '@mlx-serving/contracts';
import type { WorkerAccelerator } from './worker-accelerator.ts';
import type { TokenStream, TokenStreamListener, TokenStreamOptions } from '../transport/token-transport.ts';

/** One server that generates, of whatever kind: whether it serves, what it has, and how its tokens come. */
export interface Upstream {
  readonly serving: boolean;
  /** Whether its token ids are the model's own: then an answer can go on here from another worker's tokens, and elsewhere from its own. */
  readonly continues: boolean;
  /** Absent where there is none. */
  readonly accelerator?: WorkerAccelerator;
  start(): void;
  stop(): void;
  open(request: WorkerGenerateRequest, listener: TokenStreamListener, options?: TokenStreamOptions): TokenStream;
  /**
   * Tells it of a request that will come, where it can do something for it meanwhile.
   * @returns for how many milliseconds it remembers; undefined when it does nothing
   */
  prepare?(request: WorkerGenerateRequest): Promise<number | undefined>;
  /** Whether it answers a call in time, whatever it says. Never rejects. */
  answers(): Promise<boolean>;
  /** @returns the models it serves now; none when it does not answer in time, or not with a list. Never rejects. */
  models(): Promise<readonly ModelInfo[]>;
}
