import type { Redis } from 'ioredis';
import type { ApiKey } from '@mlx-serving/contracts';

export interface Spent {
  readonly requests: number;
  readonly tokens: number;
}

/** What names a batch of a gateway, however often it is sent. */
export interface BatchId {
  readonly gateway: string;
  /** Of the life of the gateway: its numbers begin anew with it. */
  readonly epoch: string;
  /** Rises by one. */
  readonly number: bigint;
}

/** What is left of a key's limits. */
export interface Balance {
  readonly requestsLeft: number;
  readonly tokensLeft: number;
  readonly tokensToday: number;
  readonly tokensThisMonth: number;
}

/** Kept a little longer than a month, in seconds. */
const KEPT_S = 40 * 24 * 3_600;
/** So long is it known which batch of a gateway was charged last, in seconds. A batch is sent again within seconds of an answer that did not come. */
const BATCHES_KEPT_S = 24 * 3_600;

/**
 * Takes what was spent off two token buckets, which fill by their limit each minute, and adds the tokens to a day's and a
 * month's count. A bucket may go into debt, at most ten minutes' worth: what was answered is paid for, afterwards. A batch that
 * was charged to this key before costs nothing.
 * KEYS: what the key has spent, the last batch of the gateway by key. ARGV: time, requests and tokens a minute, day, month,
 * requests, tokens, seconds to keep; id of the key, epoch of the gateway and number of the batch or '' for none, seconds to keep those.
 */
const CHARGE = `
local at, requests, tokens, day, dayTokens, month, monthTokens = unpack(redis.call('HMGET', KEYS[1], 'at', 'requests', 'tokens', 'day', 'dayTokens', 'month', 'monthTokens'))
local now = tonumber(ARGV[1])
local spentRequests, spentTokens = tonumber(ARGV[6]), tonumber(ARGV[7])
if ARGV[11] ~= '' then
  local number, epoch = string.match(redis.call('HGET', KEYS[2], ARGV[9]) or '', '^(%d+):(.*)$')
  if epoch == ARGV[10] and tonumber(ARGV[11]) <= tonumber(number) then
    spentRequests, spentTokens = 0, 0
  else
    redis.call('HSET', KEYS[2], ARGV[9], ARGV[11] .. ':' .. ARGV[10])
    redis.call('EXPIRE', KEYS[2], ARGV[12])
  end
end
local elapsed = math.max(0, now - (tonumber(at) or now))
local function left(stored, limit, spent)
  if limit == 0 then return 0 end
  return math.max(-10 * limit, math.min(limit, (tonumber(stored) or limit) + elapsed * limit / 60000) - spent)
end
local function counted(label, stored, count) return (label == stored and tonumber(count) or 0) + spentTokens end
requests, tokens = left(requests, tonumber(ARGV[2]), spentRequests), left(tokens, tonumber(ARGV[3]), spentTokens)
dayTokens, monthTokens = counted(ARGV[4], day, dayTokens), counted(ARGV[5], month, monthTokens)
if spentRequests ~= 0 or spentTokens ~= 0 then
  redis.call('HSET', KEYS[1], 'at', math.max(now, tonumber(at) or 0), 'requests', tostring(requests), 'tokens', tostring(tokens), 'day', ARGV[4], 'dayTokens', string.format('%.0f', dayTokens), 'month', ARGV[5], 'monthTokens', string.format('%.0f', monthTokens))
  redis.call('EXPIRE', KEYS[1], ARGV[8])
end
return {tostring(requests), tostring(tokens), string.format('%.0f', dayTokens), string.format('%.0f', monthTokens)}
`;

/** What keys have spent, in Redis, so that every flag service and every gateway sees the same. */
export class RedisSpending {
  readonly #redis: Redis;
  readonly #prefix: string;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /**
   * @param batch with which it was spent: the same is charged once
   * @throws Error while Redis is away
   */
  async charge({ id, requestsPerMinute, tokensPerMinute }: Pick<ApiKey, 'id' | 'requestsPerMinute' | 'tokensPerMinute'>, { requests, tokens }: Spent, batch?: BatchId, now = Date.now()): Promise<Balance> {
    if (this.#redis.status !== 'ready') throw new Error('redis is not there');
    const day = new Date(now).toISOString().slice(0, 10);
    const argv = [now, requestsPerMinute, Number(tokensPerMinute), day, day.slice(0, 7), requests, tokens, KEPT_S, id, batch?.epoch ?? '', batch?.number ?? '', BATCHES_KEPT_S].map(String);
    const keys = [`api-key-spending:${id}`, `api-key-batches:${batch?.gateway ?? ''}`].map((key) => `${this.#prefix}feature_flags:${key}`);
    const answer = (await this.#redis.eval(CHARGE, keys.length, ...keys, ...argv)) as [string, string, string, string];
    const [requestsLeft, tokensLeft, tokensToday, tokensThisMonth] = answer.map(Number) as [number, number, number, number];
    return { requestsLeft, tokensLeft, tokensToday, tokensThisMonth };
  }
}
