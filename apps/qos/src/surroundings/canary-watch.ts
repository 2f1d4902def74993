import { Canary, createServiceClient } from '@mlx-serving/contracts';

const LOOK_EVERY_MS = 1_000;
const ANSWER_WITHIN_MS = 900;
/** How long a variant that was heard of counts as one that gets traffic. */
const HEARD_MS = 30_000;

/**
 * Whether a variant is being judged, so that both must be treated alike: the canary service says so. While it has never answered,
 * or does not answer, traffic of both variants says it too.
 */
export class CanaryWatch {
  readonly #client: ReturnType<typeof createServiceClient<typeof Canary>> | undefined;
  readonly #now: () => number;
  readonly #heardAt = new Map<string, number>();
  #splits = false;
  #answers = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param address `none` when there is no canary service */
  constructor(address: string, now: () => number) {
    this.#client = address === 'none' ? undefined : createServiceClient(Canary, address, { defaultDeadlineMs: ANSWER_WITHIN_MS });
    this.#now = now;
  }

  start(): void {
    void this.#look();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#client?.close();
  }

  heard(variant: string): void {
    if (variant === 'baseline' || variant === 'canary') this.#heardAt.set(variant, this.#now());
  }

  get judging(): boolean {
    return this.#splits || (!this.#answers && this.#bothHeard());
  }

  #bothHeard(): boolean {
    return ['baseline', 'canary'].every((variant) => this.#now() - (this.#heardAt.get(variant) ?? Number.NEGATIVE_INFINITY) < HEARD_MS);
  }

  async #look(): Promise<void> {
    if (!this.#client) return;
    this.#timer = setTimeout(() => void this.#look(), LOOK_EVERY_MS).unref();
    try {
      const { routingTable } = await this.#client.getState({});
      this.#splits = routingTable !== undefined && routingTable.enabled && routingTable.rolloutPercentage > 0 && routingTable.rolloutPercentage < 100;
      this.#answers = true;
    } catch {
      this.#answers = false;
    }
  }
}
