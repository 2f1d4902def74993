import type { Redis } from 'ioredis';
import type { CountBatch, DecisionTotals } from './flag-store.ts';
import type { Attempt } from './redis-audit-trail.ts';

/** So long is it known which batch of a source was added last, in seconds: it is sent again within seconds of an answer that did not come. */
const KEPT_S = 24 * 3_600;

/**
 * Adds a batch of decisions to the counters, unless it was added before and only its answer got lost.
 * KEYS: the number of the last batch of this source. ARGV: number of the batch, then a counter and what it rises by, each.
 */
const ADD = `
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ${KEPT_S})
for i = 2, #ARGV, 2 do redis.call('INCRBY', ARGV[i], ARGV[i + 1]) end
return 1
`;

/** How often each flag was on and off, in Redis: `flag:NAME:enabled` and `flag:NAME:disabled` (SPEC F17). */
export class RedisDecisions {
  readonly #prefix: string;
  readonly #attempt: Attempt;

  constructor(prefix: string, attempt: Attempt) {
    this.#prefix = prefix;
    this.#attempt = attempt;
  }

  async add(counts: ReadonlyMap<string, DecisionTotals>, { source, number }: CountBatch): Promise<void> {
    const argv: string[] = [];
    for (const [name, { enabled, disabled }] of counts) {
      if (enabled > 0n) argv.push(this.#counter(name, 'enabled'), String(enabled));
      if (disabled > 0n) argv.push(this.#counter(name, 'disabled'), String(disabled));
    }
    await this.#attempt((redis: Redis) => redis.eval(ADD, 1, `${this.#prefix}feature_flags:decisions-of:${source}`, String(number), ...argv));
  }

  async of(name: string): Promise<DecisionTotals> {
    const [enabled, disabled] = await this.#attempt((redis) => redis.mget(this.#counter(name, 'enabled'), this.#counter(name, 'disabled')));
    return { enabled: BigInt(enabled ?? 0), disabled: BigInt(disabled ?? 0) };
  }

  #counter(name: string, kind: keyof DecisionTotals): string {
    return `${this.#prefix}flag:${name}:${kind}`;
  }
}
