import { createHash, randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type ApiKey, ApiKeySchema, ApiKeySetSchema, type FlagsLinkResponse, FlagsLinkResponseSchema, Priority } from '@mlx-serving/contracts';
import { z } from 'zod';
import { errors } from '../errors.ts';
import type { FlagWriter } from '../flags/flag-writer.ts';
import type { FlagReplicas } from '../link/link-handler.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import { readText } from '../store/read-text.ts';

const MAX_KEYS = 10_000;

const name = z.string().regex(/^[\w.@-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, @, _ and -');
const limit = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const description = z.object({
  name,
  tenant: name,
  priority: z.enum(Priority),
  requestsPerMinute: limit.max(1_000_000),
  tokensPerMinute: limit,
  tokensPerDay: limit,
  tokensPerMonth: limit,
});
const record = description.extend({ hash: z.string(), createdAtMs: z.number(), createdBy: z.string() });

type KeyRecord = z.infer<typeof record>;

export interface KeyServiceOptions {
  readonly live: LiveFlags;
  readonly writer: Pick<FlagWriter, 'putRecord'>;
  readonly replicas: Pick<FlagReplicas, 'broadcast'>;
}

/**
 * The keys with which clients call the gateways. The store holds only a SHA-256 of each; the secret has 256 random bits,
 * so that a slow hash would add nothing. Every linked gateway has all of them, and each change at once.
 */
export class KeyService {
  readonly #options: KeyServiceOptions;
  /** What the gateways have. */
  #announced: ReadonlyMap<string, string> | undefined;

  constructor(options: KeyServiceOptions) {
    this.#options = options;
  }

  list(): ApiKey[] {
    return [...this.#records()].map(([id, { hash: _, ...key }]) => toMessage(id, key));
  }

  get(id: string): ApiKey | undefined {
    const found = readText(record, this.#options.live.records['api-keys'].get(id));
    return found && toMessage(id, found);
  }

  /** @returns the key, and its secret, which nobody can be told again */
  async create(asked: ApiKey, actor: string): Promise<{ key: ApiKey; secret: string }> {
    const { name: keyName, tenant, priority, requestsPerMinute } = asked;
    const [tokensPerMinute, tokensPerDay, tokensPerMonth] = [asked.tokensPerMinute, asked.tokensPerDay, asked.tokensPerMonth].map(Number);
    const parsed = description.safeParse({ name: keyName, tenant: tenant || keyName, priority: priority || Priority.NORMAL, requestsPerMinute, tokensPerMinute, tokensPerDay, tokensPerMonth });
    if (!parsed.success) throw errors.API_KEY_INVALID({ problem: parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ') });
    if (this.#options.live.records['api-keys'].size >= MAX_KEYS) throw errors.API_KEY_INVALID({ problem: `there are ${MAX_KEYS} keys already` });
    const id = randomBytes(6).toString('hex');
    const secret = `mlxk_${id}_${randomBytes(32).toString('base64url')}`;
    const key = { ...parsed.data, createdAtMs: Date.now(), createdBy: actor };
    const text = JSON.stringify({ ...key, hash: createHash('sha256').update(secret).digest('hex') });
    await this.#options.writer.putRecord({ kind: 'api-keys', id, text, shown: JSON.stringify(key), actor, reason: '', atMs: key.createdAtMs });
    return { key: toMessage(id, key), secret };
  }

  /** @throws API_KEY_UNKNOWN */
  async revoke(id: string, actor: string): Promise<void> {
    if (!this.#options.live.records['api-keys'].has(id)) throw errors.API_KEY_UNKNOWN();
    await this.#options.writer.putRecord({ kind: 'api-keys', id, text: undefined, actor, reason: '', atMs: Date.now() });
  }

  /** Every key, for a gateway. */
  directive(): FlagsLinkResponse {
    const keys = [...this.#records()].map(([id, { hash, ...key }]) => ({ ...toMessage(id, key), secretHash: hash }));
    return create(FlagsLinkResponseSchema, { message: { case: 'apiKeys', value: create(ApiKeySetSchema, { keys }) } });
  }

  /** Tells the linked gateways when the keys have changed. */
  announce(): void {
    const records = this.#options.live.records['api-keys'];
    if (this.#announced && isSame(this.#announced, records)) return;
    this.#announced = records;
    this.#options.replicas.broadcast(this.directive());
  }

  /** A record that cannot be read is no key. */
  *#records(): Generator<[string, KeyRecord]> {
    for (const [id, text] of this.#options.live.records['api-keys']) {
      const found = readText(record, text);
      if (found) yield [id, found];
    }
  }
}

function toMessage(id: string, key: Omit<KeyRecord, 'hash'>): ApiKey {
  const { createdAtMs, tokensPerMinute, tokensPerDay, tokensPerMonth, name: keyName, tenant, priority, requestsPerMinute, createdBy } = key;
  return create(ApiKeySchema, {
    ...{ id, name: keyName, tenant, priority, requestsPerMinute, createdBy },
    tokensPerMinute: BigInt(tokensPerMinute),
    tokensPerDay: BigInt(tokensPerDay),
    tokensPerMonth: BigInt(tokensPerMonth),
    createdAtMs: BigInt(createdAtMs),
  });
}

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([id, text]) => b.get(id) === text);
}
