import type { createRedis } from '@mlx-serving/service-kit';
import type { RoutingStore } from './routing-store.ts';

export type Redis = ReturnType<typeof createRedis>;

/** One step in Redis, so that two replicas never give one revision to two tables. An entry that cannot be read counts as none. */
const SETTLE = `
local stored, revision, same = redis.call('GET', KEYS[1]), 0, false
if stored then
  local ok, entry = pcall(cjson.decode, stored)
  if ok and type(entry) == 'table' and type(entry.revision) == 'number' then
    revision, same = entry.revision, entry.fingerprint == ARGV[1]
  end
end
if not same then revision = revision + 1 end
revision = string.format('%.0f', math.max(revision, tonumber(ARGV[2])))
redis.call('SET', KEYS[1], '{"revision":' .. revision .. ',"fingerprint":"' .. ARGV[1] .. '"}')
return revision
`;

/** The key `canary:routing`, JSON `{revision, fingerprint}`. */
export class RedisRoutingStore implements RoutingStore {
  readonly #redis: Redis;
  readonly #key: string;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#key = `${prefix}canary:routing`;
  }

  async settle(fingerprint: string, atLeast: bigint): Promise<bigint> {
    return BigInt((await this.#redis.eval(SETTLE, 1, this.#key, fingerprint, atLeast.toString())) as string);
  }
}
