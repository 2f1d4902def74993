import type { RuntimeFile, Variant } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { TrafficControl } from '../admission/traffic-control.ts';
import { chooseLeastLoaded, drawsOf, isOverloaded } from '../balancing/choose-member.ts';
import { PoolMember } from '../balancing/pool-member.ts';
import type { PromptShape } from '../balancing/prefix-keys.ts';
import { PrefixOwners } from '../balancing/prefix-owners.ts';
import type { GatewayConfig } from '../config.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { WorkerConnection } from './worker-connection.ts';

export interface WorkerPoolOptions {
  readonly variant: Variant;
  readonly addresses: readonly string[];
  readonly settings: () => Pick<RuntimeFile, 'balancing' | 'failure'>;
  readonly control: Pick<TrafficControl, 'isForcedOpen'>;
  readonly metrics: GatewayMetrics;
  readonly logger: Logger;
}

/** So many workers may come to one pool by themselves. */
const MOST_JOINED = 256;

/** The workers of one variant, and which of them gets a request: shared prefix first, then the least outstanding tokens. */
export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  #members: PoolMember[];
  /** By address: how many leases a worker has that is not configured. */
  readonly #leases = new Map<string, number>();
  readonly #owners: PrefixOwners<PoolMember>;
  #panic = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#members = options.addresses.map((address) => this.#member(address));
    this.#owners = new PrefixOwners(() => options.settings().balancing.most_prefixes);
    this.#show();
  }

  get size(): number {
    return this.#members.length;
  }

  get members(): readonly PoolMember[] {
    return this.#members;
  }

  get serving(): readonly WorkerConnection[] {
    return this.#members.filter((member) => member.serving).map(({ worker }) => worker);
  }

  /** @param isFit default: everyone is. @returns undefined when nobody who is fit serves */
  pick({ keys }: PromptShape, isFit?: (member: PoolMember) => boolean): PoolMember | undefined {
    const all = this.#candidates();
    const candidates = isFit ? all.filter(isFit) : all;
    if (candidates.length < 2) return candidates[0];
    const { prefix_affinity, overload_ratio, overload_tokens } = this.#options.settings().balancing;
    if (!prefix_affinity) return chooseLeastLoaded(candidates, Math.random);
    const isUsable = (member: PoolMember): boolean => candidates.includes(member);
    const owner = this.#owners.find(keys, isUsable);
    const stays = owner !== undefined && !isOverloaded(owner, candidates, overload_ratio, overload_tokens);
    const chosen = stays ? owner : owner ? chooseLeastLoaded(candidates, Math.random) : chooseForPrefix(candidates, keys);
    this.#options.metrics.balanced.inc({ by: stays ? 'prefix' : owner ? 'overload' : 'load' });
    if (chosen) this.#owners.claim(keys, chosen, isUsable);
    return chosen;
  }

  /** A worker has come by itself. @returns false when there are too many already */
  join(address: string): boolean {
    if (this.#options.addresses.includes(address)) return true;
    const leases = this.#leases.get(address) ?? 0;
    if (leases === 0) {
      if (this.#leases.size >= MOST_JOINED) return false;
      const member = this.#member(address);
      this.#members = [...this.#members, member];
      member.start();
    }
    this.#leases.set(address, leases + 1);
    return true;
  }

  /** A worker that came by itself is gone: it gets nothing new, and its connection ends with what runs there. */
  leave(address: string): void {
    const leases = this.#leases.get(address) ?? 0;
    if (leases > 1) return void this.#leases.set(address, leases - 1);
    if (!this.#leases.delete(address)) return;
    const gone = this.#members.find((member) => member.worker.address === address);
    this.#members = this.#members.filter((member) => member !== gone);
    if (gone) this.#owners.forget(gone);
    gone?.retire();
    this.#show();
  }

  start(): void {
    for (const member of this.#members) member.start();
  }

  stop(): void {
    for (const member of this.#members) member.stop();
  }

  /** Those that should be given requests. When that is nobody, everybody who serves: an open circuit is better than none at all. */
  #candidates(): readonly PoolMember[] {
    const available = this.#members.filter((member) => member.available);
    const serving = available.length > 0 ? available : this.#members.filter((member) => member.serving);
    this.#showPanic(available.length === 0 && serving.length > 0);
    return serving;
  }

  #member(address: string): PoolMember {
    const { variant, settings, control, metrics, logger } = this.#options;
    const worker = new WorkerConnection(address, variant, logger, () => this.#show());
    const member = new PoolMember({
      worker,
      settings: () => settings().failure,
      isForcedOpen: (one, outstanding) => control.isForcedOpen(one, outstanding),
      onEvent: (_, event) => {
        logger.warn({ worker: worker.address, variant, event, state: member.state }, 'worker changed its state');
        metrics.workerEvents.inc({ event });
        this.#show();
      },
    });
    return member;
  }

  #show(): void {
    // Called by a worker's health while the pool is being made, too.
    this.#options.metrics.servingWorkers.set({ variant: this.#options.variant }, (this.#members ?? []).filter(({ serving }) => serving).length);
  }

  #showPanic(panic: boolean): void {
    if (panic === this.#panic) return;
    this.#panic = panic;
    const { variant, metrics, logger } = this.#options;
    metrics.balancingPanic.set({ variant }, panic ? 1 : 0);
    logger.warn({ variant, panic }, panic ? 'every circuit is open: requests go to workers all the same' : 'a circuit is closed again');
  }
}

/** For a prefix that is new here: another gateway that sees it chooses alike, while the workers have as much to do. */
function chooseForPrefix(candidates: readonly PoolMember[], keys: PromptShape['keys']): PoolMember | undefined {
  const byAddress = [...candidates].sort((a, b) => (a.worker.address < b.worker.address ? -1 : 1));
  return chooseLeastLoaded(byAddress, drawsOf(keys[0] ?? 0));
}

/** One pool for each variant, with a connection to each of its workers. */
export function createPools(config: Pick<GatewayConfig, 'workers' | 'canaryWorkers'>, common: Pick<WorkerPoolOptions, 'settings' | 'control' | 'metrics' | 'logger'>): Record<Variant, WorkerPool> {
  return {
    baseline: new WorkerPool({ ...common, variant: 'baseline', addresses: config.workers }),
    canary: new WorkerPool({ ...common, variant: 'canary', addresses: config.canaryWorkers }),
  };
}
