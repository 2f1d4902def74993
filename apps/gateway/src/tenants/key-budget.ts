import type { ApiKey, ApiKeyBalance } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';

export interface Spent {
  requests: number;
  tokens: number;
}

/** A bucket that fills by its limit each minute. A limit of 0 is none. */
interface Bucket {
  readonly limit: number;
  left: number;
}

const MINUTE_MS = 60_000;

/**
 * What one key may still spend, as far as this gateway knows: what the flag service said last, filled up since, less
 * what was spent here and not yet counted there. Requests are paid before, tokens after they came, so a bucket may go
 * into debt, and the next request waits until it is paid.
 */
export class KeyBudget {
  readonly #now: () => number;
  #key: ApiKey;
  #requests: Bucket;
  #tokens: Bucket;
  #filledAt: number;
  #today = { label: '', tokens: 0 };
  #month = { label: '', tokens: 0 };
  /** Gateways that share the limits: without the flag service each fills its bucket with its part only. */
  #share = 1;
  /** Not yet sent to the flag service. */
  #pending: Spent = { requests: 0, tokens: 0 };

  constructor(key: ApiKey, now: () => number = Date.now) {
    this.#now = now;
    this.#key = key;
    this.#requests = { limit: key.requestsPerMinute, left: key.requestsPerMinute };
    this.#tokens = { limit: Number(key.tokensPerMinute), left: Number(key.tokensPerMinute) };
    this.#filledAt = now();
  }

  /** Takes one request. @throws RATE_LIMITED or BUDGET_SPENT with the time to retry after */
  admit(): void {
    this.#fill();
    this.#assertBudget('day', Number(this.#key.tokensPerDay), this.#today.tokens);
    this.#assertBudget('month', Number(this.#key.tokensPerMonth), this.#month.tokens);
    this.#assertLeft('requests', this.#requests, 1);
    this.#assertLeft('tokens', this.#tokens, Number.MIN_VALUE);
    this.#spend({ requests: 1, tokens: 0 });
  }

  used(tokens: number): void {
    this.#fill();
    this.#spend({ requests: 0, tokens });
  }

  /** What was spent since the last call; undefined for nothing. */
  takePending(): Spent | undefined {
    const { requests, tokens } = this.#pending;
    if (requests === 0 && tokens === 0) return undefined;
    this.#pending = { requests: 0, tokens: 0 };
    return { requests, tokens };
  }

  /** @param uncounted what was spent here and is not in the balance, besides what is pending */
  settle(balance: ApiKeyBalance, uncounted: Spent, connectedGateways: number): void {
    const { requests, tokens } = this.#pending;
    this.#fill();
    this.#requests.left = balance.requestsLeft - requests - uncounted.requests;
    this.#tokens.left = balance.tokensLeft - tokens - uncounted.tokens;
    this.#today.tokens = Number(balance.tokensToday) + tokens + uncounted.tokens;
    this.#month.tokens = Number(balance.tokensThisMonth) + tokens + uncounted.tokens;
    this.#share = 1 / Math.max(1, connectedGateways);
  }

  /** A key of the same id with other limits. */
  update(key: ApiKey): void {
    this.#key = key;
    this.#requests = { limit: key.requestsPerMinute, left: Math.min(this.#requests.left, key.requestsPerMinute) };
    this.#tokens = { limit: Number(key.tokensPerMinute), left: Math.min(this.#tokens.left, Number(key.tokensPerMinute)) };
  }

  /** `x-ratelimit-*` as OpenAI's, of the limits that there are. */
  get headers(): Record<string, string> {
    return { ...headersOf('requests', this.#requests), ...headersOf('tokens', this.#tokens) };
  }

  #spend({ requests, tokens }: Spent): void {
    this.#pending.requests += requests;
    this.#pending.tokens += tokens;
    this.#requests.left -= requests;
    this.#tokens.left -= tokens;
    this.#today.tokens += tokens;
    this.#month.tokens += tokens;
  }

  #fill(): void {
    const now = this.#now();
    const minutes = (Math.max(0, now - this.#filledAt) / MINUTE_MS) * this.#share;
    this.#filledAt = now;
    for (const bucket of [this.#requests, this.#tokens]) bucket.left = Math.min(bucket.limit, bucket.left + minutes * bucket.limit);
    const day = new Date(now).toISOString().slice(0, 10);
    if (this.#today.label !== day) this.#today = { label: day, tokens: 0 };
    if (this.#month.label !== day.slice(0, 7)) this.#month = { label: day.slice(0, 7), tokens: 0 };
  }

  #assertLeft(what: 'requests' | 'tokens', { limit, left }: Bucket, needed: number): void {
    if (limit === 0 || left >= needed) return;
    const retryAfterMs = Math.max(1, ((needed - left) / limit) * MINUTE_MS);
    throw errors.RATE_LIMITED({ tenant: this.#key.name, what, limit, seconds: Math.ceil(retryAfterMs / 1_000) }, { retryAfterMs });
  }

  #assertBudget(period: 'day' | 'month', limit: number, spent: number): void {
    if (limit === 0 || spent < limit) return;
    const now = new Date(this.#now());
    const end = period === 'day' ? Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + 1) : Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1);
    throw errors.BUDGET_SPENT({ limit, period, tenant: this.#key.name }, { retryAfterMs: end - now.getTime() });
  }
}

function headersOf(what: string, { limit, left }: Bucket): Record<string, string> {
  if (limit === 0) return {};
  return {
    [`x-ratelimit-limit-${what}`]: String(limit),
    [`x-ratelimit-remaining-${what}`]: String(Math.max(0, Math.floor(left))),
    [`x-ratelimit-reset-${what}`]: `${(((limit - Math.max(0, left)) / limit) * 60).toFixed(3)}s`,
  };
}
