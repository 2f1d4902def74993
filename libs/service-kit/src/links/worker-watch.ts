import type { ClientReadableStream } from '@grpc/grpc-js';
import { createServiceClient, type ServiceClient, type StatsResponse, Worker } from '@mlx-serving/contracts';
import type { Logger } from '../logger.ts';

export interface WorkerWatchOptions {
  /** `host:port`. */
  readonly address: string;
  /** Called with each answer, and with undefined when the worker is lost. */
  readonly onStats: (stats: StatsResponse | undefined) => void;
  readonly logger: Logger;
  /** How often the worker is asked to answer, in milliseconds. Default: 1000. */
  readonly intervalMs?: number;
}

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
/** A worker that misses so many answers in a row is taken for lost, though its connection may stand. */
const MISSED_ANSWERS = 5;

/** Follows the statistics of one worker, and comes back to it by itself. */
export class WorkerWatch {
  readonly #options: WorkerWatchOptions;
  readonly #intervalMs: number;
  readonly #client: ServiceClient<typeof Worker>;
  #stream: ClientReadableStream<StatsResponse> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #attempt = 0;
  #stats: StatsResponse | undefined;
  #stopped = false;

  constructor(options: WorkerWatchOptions) {
    this.#options = options;
    this.#intervalMs = options.intervalMs ?? 1_000;
    this.#client = createServiceClient(Worker, options.address);
  }

  /** The last answer, or undefined while the worker is lost. */
  get stats(): StatsResponse | undefined {
    return this.#stats;
  }

  start(): void {
    const stream = this.#client.stats({ intervalMs: this.#intervalMs });
    this.#stream = stream;
    stream.on('data', (stats: StatsResponse) => this.#receive(stream, stats));
    stream.on('error', (error: Error) => this.#lost(stream, error.message));
    stream.on('end', () => this.#lost(stream, 'the worker ended its statistics'));
    this.#watchdog(stream);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#stream?.cancel();
    this.#client.close();
  }

  #receive(stream: ClientReadableStream<StatsResponse>, stats: StatsResponse): void {
    if (stream !== this.#stream || this.#stopped) return;
    if (!this.#stats) this.#options.logger.info({ worker: this.#options.address }, 'worker is there');
    this.#attempt = 0;
    this.#stats = stats;
    this.#watchdog(stream);
    this.#options.onStats(stats);
  }

  #watchdog(stream: ClientReadableStream<StatsResponse>): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(stream, 'no answer in time'), this.#intervalMs * MISSED_ANSWERS);
  }

  #lost(stream: ClientReadableStream<StatsResponse>, problem: string): void {
    if (stream !== this.#stream || this.#stopped) return;
    this.#stream = undefined;
    stream.cancel();
    if (this.#stats || this.#attempt === 0) this.#options.logger.warn({ worker: this.#options.address, problem }, 'worker is lost');
    this.#stats = undefined;
    this.#options.onStats(undefined);
    clearTimeout(this.#timer);
    // Whoever was told may have stopped it.
    if (this.#stopped) return;
    const delay = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.#attempt++, 10)) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.start(), delay);
  }
}
