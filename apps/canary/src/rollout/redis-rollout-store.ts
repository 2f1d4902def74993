import type { Redis } from '../routing/redis-routing-store.ts';
import type { RolloutState } from './rollout-state.ts';
import type { RolloutStore } from './rollout-store.ts';

/** One step: the lease (unless it is not asked for), the version and the state are looked at and changed together. An entry that cannot be read counts as none. */
const COMMIT = `
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local stored, version = redis.call('GET', KEYS[1]), 0
if stored then
  local found = string.match(stored, '^{"version":(%d+)')
  if found then version = tonumber(found) end
end
if version ~= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
return 1
`;

const ACQUIRE = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`;

const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1`;

/** The keys `canary:rollout`, JSON that begins with its version, and `canary:acting`, the acting replica's name until it ends. */
export class RedisRolloutStore implements RolloutStore {
  readonly #redis: Redis;
  readonly #state: string;
  readonly #lease: string;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#state = `${prefix}canary:rollout`;
    this.#lease = `${prefix}canary:acting`;
  }

  async load(): Promise<RolloutState | undefined> {
    const text = await this.#redis.get(this.#state);
    return text?.startsWith('{"version":') ? (JSON.parse(text) as RolloutState) : undefined;
  }

  async lower(state: RolloutState, follows: number): Promise<boolean> {
    return this.commit('', state, follows);
  }

  async commit(holder: string, { version, ...rest }: RolloutState, follows: number): Promise<boolean> {
    return (await this.#redis.eval(COMMIT, 2, this.#state, this.#lease, holder, follows, JSON.stringify({ version, ...rest }))) === 1;
  }

  async acquire(holder: string, ttlMs: number): Promise<boolean> {
    return (await this.#redis.eval(ACQUIRE, 1, this.#lease, holder, ttlMs)) === 1;
  }

  async release(holder: string): Promise<void> {
    await this.#redis.eval(RELEASE, 1, this.#lease, holder);
  }
}
