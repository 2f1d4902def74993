import { EventEmitter } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Metadata } from '@grpc/grpc-js';
import type { Inference, ServiceClient, StageEvent, TtftStatsResponse } from '@mlx-serving/contracts';
import { InferenceError } from './inference-error.ts';

/** What the caller knows of a request (SPEC T5). A class, so that it can be imported like a value where types are only stripped. */
export abstract class TtftHint {
  /** Taken as the request's id. */
  declare readonly streamId: string;
  declare readonly prompt: string;
  declare readonly model: string;
  /** About how long the prompt is. */
  declare readonly estimatedTokens?: number;
  declare readonly priority?: 'high' | 'normal' | 'low';
  /** The prompt will come again: its last position is kept ready from now on. */
  declare readonly allowSpeculation?: boolean;
}

export interface StageMetrics {
  /** From the request's arrival at the worker to this stage. */
  readonly durationMs: number;
}

type StageListener = [streamId: string, metrics: StageMetrics];

/** The events of the requests of one engine. They come together when an answer ends, each with its own time. */
export interface TtftEvents {
  'stage:queued': StageListener;
  'stage:warmed': StageListener;
  'stage:speculated': StageListener;
  'stage:firstToken': StageListener;
  'speculation:hit': [promptHash: string, confidence: number];
  'speculation:miss': [promptHash: string];
}

export interface QueueStats {
  readonly size: number;
  readonly maxSize: number;
  readonly totalQueued: number;
  readonly totalWarmed: number;
  /** Share of the queued that were warmed, 0 to 1. */
  readonly hitRate: number;
}

export interface SpeculationStats {
  readonly totalHits: number;
  readonly totalMisses: number;
  readonly hitRate: number;
  readonly candidateCount: number;
}

const RECONNECT_MS = 1_000;

/**
 * The TTFT accelerator of the gateway's workers: events of this engine's requests, and statistics of all requests.
 * The first question for statistics begins a subscription, which ends with the engine.
 */
export class TtftPipeline extends EventEmitter<TtftEvents> {
  readonly #client: Pick<ServiceClient<typeof Inference>, 'ttftStats' | 'addToAllowlist'>;
  readonly #metadata: () => Metadata;
  readonly #closed = new AbortController();
  #stats: TtftStatsResponse | undefined;
  #first: Promise<void> | undefined;

  /** @param metadata goes with each call */
  constructor(client: Pick<ServiceClient<typeof Inference>, 'ttftStats' | 'addToAllowlist'>, { metadata = () => new Metadata() }: { metadata?: () => Metadata } = {}) {
    super();
    this.#client = client;
    this.#metadata = metadata;
  }

  /** Resolves once the statistics are known; they are kept up to date from then on. */
  async ready(): Promise<this> {
    await this.#watch();
    return this;
  }

  /** Whether a worker serves that may use the stages; false until that is known. */
  isEnabled(): boolean {
    return this.#known()?.enabled ?? false;
  }

  /** The last known numbers; 0 until there are any. */
  getQueueStats(): QueueStats {
    const { size = 0, maxSize = 0, queued = 0n, warmed = 0n } = this.#known()?.warmQueue ?? {};
    return { size, maxSize, totalQueued: Number(queued), totalWarmed: Number(warmed), hitRate: share(warmed, queued) };
  }

  /** The last known numbers; 0 until there are any. */
  getSpeculationStats(): SpeculationStats {
    const { hits = 0n, misses = 0n, candidates = 0n } = this.#known()?.speculation ?? {};
    return { totalHits: Number(hits), totalMisses: Number(misses), hitRate: share(hits, hits + misses), candidateCount: Number(candidates) };
  }

  /**
   * Keeps a prompt's last position ready at every worker that serves, computed in idle time.
   * @returns how many workers have taken it
   * @throws InferenceError
   */
  async addToAllowlist(prompt: string, { model = '' }: { readonly model?: string } = {}): Promise<number> {
    try {
      return (await this.#client.addToAllowlist({ model, input: { case: 'prompt', value: prompt } }, { metadata: this.#metadata() })).workers;
    } catch (error) {
      throw InferenceError.from(error);
    }
  }

  /** Called by the engine when an answer has ended. */
  report(streamId: string, stages: readonly StageEvent[]): void {
    for (const { name, atMs, promptHash, confidence } of stages) {
      if (name === 'speculation:hit') this.emit(name, promptHash, confidence);
      else if (name === 'speculation:miss') this.emit(name, promptHash);
      else this.emit(name as 'stage:queued', streamId, { durationMs: atMs });
    }
  }

  /** Ends the subscription. */
  close(): void {
    this.#closed.abort();
  }

  #known(): TtftStatsResponse | undefined {
    void this.#watch();
    return this.#stats;
  }

  #watch(): Promise<void> {
    this.#first ??= new Promise((resolve) => void this.#follow(resolve));
    return this.#first;
  }

  async #follow(onStats: () => void): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      try {
        for await (const stats of this.#client.ttftStats({}, { metadata: this.#metadata(), signal }) as AsyncIterable<TtftStatsResponse>) {
          this.#stats = stats;
          onStats();
        }
      } catch {
        // The gateway is not there: the last numbers stay.
      }
      await delay(RECONNECT_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
    onStats();
  }
}

function share(part: bigint, whole: bigint): number {
  return whole === 0n ? 0 : Number(part) / Number(whole);
}
