import type { createRedis } from '@mlx-serving/service-kit';
import type { ControlStore, KeptBudgets, KeptControl } from './control-store.ts';

type Redis = ReturnType<typeof createRedis>;

/**
 * KEYS: lease, term. The lease's value is `term holder`. A term is at least the unix time in milliseconds, so that it
 * grows for gateways that remember the last one when Redis has lost its data.
 */
const ACQUIRE = `
local held = redis.call('GET', KEYS[1])
if held then
  local term, holder = string.match(held, '^(%d+) (.*)$')
  if holder ~= ARGV[1] then return 0 end
  if ARGV[3] == '0' then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return tonumber(term)
  end
end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local term = string.format('%d', math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, now))
redis.call('SET', KEYS[2], term)
redis.call('SET', KEYS[1], term .. ' ' .. ARGV[1], 'PX', ARGV[2])
return tonumber(term)
`;
const COMMIT = `if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end redis.call('SET', KEYS[1], ARGV[2]) return 1`;
const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1`;

/** The keys `qos:control`, the state as JSON, `qos:budgets`, the error budgets as JSON, `qos:acting`, the acting replica's term and name until it ends, and `qos:term`. */
export class RedisControlStore implements ControlStore {
  readonly #redis: Redis;
  readonly #keys: { readonly state: string; readonly budgets: string; readonly lease: string; readonly term: string };

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#keys = { state: `${prefix}qos:control`, budgets: `${prefix}qos:budgets`, lease: `${prefix}qos:acting`, term: `${prefix}qos:term` };
  }

  async load(): Promise<KeptControl | undefined> {
    const text = await this.#redis.get(this.#keys.state);
    try {
      const kept = JSON.parse(text ?? 'null') as KeptControl | null;
      return Array.isArray(kept?.executor?.leases) ? kept : undefined;
    } catch {
      return undefined;
    }
  }

  async acquire(holder: string, ttlMs: number, anew: boolean): Promise<number | undefined> {
    const term = Number(await this.#redis.eval(ACQUIRE, 2, this.#keys.lease, this.#keys.term, holder, ttlMs, anew ? '1' : '0'));
    return term === 0 ? undefined : term;
  }

  async commit(holder: string, term: number, kept: KeptControl): Promise<boolean> {
    return this.#commit(this.#keys.state, `${term} ${holder}`, JSON.stringify(kept));
  }

  async loadBudgets(): Promise<KeptBudgets> {
    const text = await this.#redis.get(this.#keys.budgets);
    try {
      const kept = JSON.parse(text ?? '{}') as KeptBudgets;
      return Object.values(kept).every(({ slots }) => Array.isArray(slots)) ? kept : {};
    } catch {
      return {};
    }
  }

  async commitBudgets(holder: string, term: number, kept: KeptBudgets): Promise<boolean> {
    return this.#commit(this.#keys.budgets, `${term} ${holder}`, JSON.stringify(kept));
  }

  async release(holder: string, term: number): Promise<void> {
    await this.#redis.eval(RELEASE, 1, this.#keys.lease, `${term} ${holder}`);
  }

  async #commit(key: string, lease: string, text: string): Promise<boolean> {
    return (await this.#redis.eval(COMMIT, 2, key, this.#keys.lease, lease, text)) === 1;
  }
}
