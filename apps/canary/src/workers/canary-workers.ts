import type { StatsResponse } from '@mlx-serving/contracts';
import { LEAST_LEAK_SAMPLES, type MemorySample, memorySlope, MOST_LEAK_SAMPLES } from '@mlx-serving/policy';
import { type Logger, WorkerWatch } from '@mlx-serving/service-kit';
import type { WorkerFacts, WorkerSlope } from '../rollout/verdict.ts';

export interface CanaryWorkersOptions {
  /** Those that are configured, `host:port`. */
  readonly addresses: readonly string[];
  /** Called with the address when a worker's process is another one than before. */
  readonly onExit: (address: string) => void;
  /** Called when the workers have gone or one has come back. */
  readonly onChange: () => void;
  /** The clock in milliseconds. */
  readonly now: () => number;
  /** How far samples of the memory are apart at first, in milliseconds. Default: 10000. */
  readonly sampleEveryMs?: () => number;
  readonly logger: Logger;
}

const MEGABYTE = 2 ** 20;
const SAMPLE_EVERY_MS = 10_000;
/** Of those that joined a gateway. */
const MOST_HEARD = 200;
/** One that joined, is lost, and that no gateway has any more is forgotten after so long. */
const FORGET_AFTER_MS = 300_000;
/** Servers of other kinds have no statistics. */
const WATCHABLE = /^[^/\s]+:\d{1,5}$/;
/** A connection may break; a worker that is not back after so long is gone. */
const GONE_AFTER_MS = 1_000;

interface Watched {
  pid: number | undefined;
  lostAtMs: number | undefined;
  samples: MemorySample[];
  /** Of so many samples that come one is kept. */
  thinning: number;
}

/** Watches the canary's workers, those that are configured and those that joined a gateway: whether they are there, how often they exited, and how their memory grows (SPEC C2). */
export class CanaryWorkers {
  readonly #options: CanaryWorkersOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #watches = new Map<string, WorkerWatch>();
  /** By gateway. */
  readonly #heard = new Map<string, readonly string[]>();
  #started = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CanaryWorkersOptions) {
    this.#options = options;
    for (const address of options.addresses) this.#watch(address);
  }

  start(): void {
    this.#started = true;
    for (const watch of this.#watches.values()) watch.start();
  }

  stop(): void {
    this.#started = false;
    clearTimeout(this.#timer);
    for (const watch of this.#watches.values()) watch.stop();
  }

  /** Whether there is a worker at all, which may be of another kind than can be watched. */
  get any(): boolean {
    return this.#options.addresses.length > 0 || [...this.#heard.values()].some((addresses) => addresses.length > 0);
  }

  /** Addresses of those that are watched. */
  get watched(): string[] {
    return [...this.#watches.keys()];
  }

  /** A gateway says which workers of the canary it has now. */
  heard(gateway: string, addresses: readonly string[]): void {
    if (addresses.length > 0) this.#heard.set(gateway, addresses);
    else this.#heard.delete(gateway);
    for (const address of addresses) {
      const isFull = this.#watches.size >= this.#options.addresses.length + MOST_HEARD;
      if (!isFull && WATCHABLE.test(address) && !this.#watches.has(address)) this.#watch(address);
    }
  }

  get facts(): WorkerFacts {
    const all = [...this.#watched.values()];
    const isGone = ({ lostAtMs }: Watched): boolean => lostAtMs !== undefined && this.#options.now() - lostAtMs >= GONE_AFTER_MS;
    return { gone: all.length > 0 && all.every(isGone), slopes: [...this.#watched].flatMap(([worker, { samples }]) => slopeOf(worker, samples)) };
  }

  /** Takes in what a worker says, or that it is lost. A worker that was never there is not watched. */
  see(address: string, stats: StatsResponse | undefined): void {
    const known = this.#watched.get(address);
    if (!stats) {
      if (known && !this.#forgets(address, known)) this.#lost(known);
      return;
    }
    const watched = known ?? { pid: undefined, lostAtMs: undefined, samples: [], thinning: 1 };
    this.#watched.set(address, watched);
    watched.lostAtMs = undefined;
    if (watched.pid !== undefined && watched.pid !== stats.pid) {
      watched.samples = [];
      this.#options.onExit(address);
    }
    watched.pid = stats.pid;
    // A prefix cache that fills up is bounded, and no leak.
    this.#sample(watched, Number(stats.residentMemoryBytes - (stats.prefixCache?.bytes ?? 0n)) / MEGABYTE);
  }

  #watch(address: string): void {
    const watch = new WorkerWatch({ address, logger: this.#options.logger, onStats: (stats) => this.see(address, stats) });
    this.#watches.set(address, watch);
    if (this.#started) watch.start();
  }

  /** While another one is there: when all are gone, that is what must be known. */
  #forgets(address: string, { lostAtMs }: Watched): boolean {
    const isNamed = this.#options.addresses.includes(address) || [...this.#heard.values()].some((addresses) => addresses.includes(address));
    const isOld = lostAtMs !== undefined && this.#options.now() - lostAtMs >= FORGET_AFTER_MS;
    const isLast = [...this.#watched].every(([other, watched]) => other === address || watched.lostAtMs !== undefined);
    if (isNamed || !isOld || isLast) return false;
    this.#watches.get(address)?.stop();
    this.#watches.delete(address);
    this.#watched.delete(address);
    return true;
  }

  #lost(watched: Watched): void {
    watched.lostAtMs ??= this.#options.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#options.onChange(), GONE_AFTER_MS);
  }

  /** Half of the samples go when there are too many, and the rest come half as often. */
  #sample(watched: Watched, megabytes: number): void {
    const atMs = this.#options.now();
    const everyMs = (this.#options.sampleEveryMs?.() ?? SAMPLE_EVERY_MS) * watched.thinning;
    if (atMs - (watched.samples.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY) < everyMs) return;
    watched.samples.push({ atMs, megabytes });
    if (watched.samples.length < MOST_LEAK_SAMPLES) return;
    watched.samples = watched.samples.filter((_, index) => index % 2 === 0);
    watched.thinning *= 2;
  }
}

function slopeOf(worker: string, samples: readonly MemorySample[]): WorkerSlope[] {
  const slope = samples.length < LEAST_LEAK_SAMPLES ? undefined : memorySlope(samples);
  return slope ? [{ worker, ...slope }] : [];
}
