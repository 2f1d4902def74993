import type { Redis } from 'ioredis';
import { readEntry } from '../audit/audit-entry.ts';
import type { AuditBase, AuditHead, StoredAuditEntry } from './flag-store.ts';
import { readAuditEntry, readAuditHead } from './redis-records.ts';

/** Entries that are read at once. */
const BATCH = 500;

/** Runs a command. @throws STORE_UNREACHABLE when the store does not answer */
export type Attempt = <T>(command: (redis: Redis) => Promise<T>) => Promise<T>;

/** The audit trail in Redis: a stream whose ids are `<revision>-<place within the revision>`. */
export class RedisAuditTrail {
  readonly #flags: string;
  readonly #attempt: Attempt;

  /** @param flags the key of the flags, before which every other key stands */
  constructor(flags: string, attempt: Attempt) {
    this.#flags = flags;
    this.#attempt = attempt;
  }

  async *entries({ after, upToRevision }: { after?: string; upToRevision?: bigint } = {}): AsyncGenerator<StoredAuditEntry[]> {
    const end = upToRevision === undefined ? '+' : String(upToRevision);
    for (let start = after === undefined ? '-' : `(${after}`; ; ) {
      const found = await this.#attempt((redis) => redis.xrange(`${this.#flags}:audit`, start, end, 'COUNT', BATCH));
      if (found.length > 0) yield found.map(readAuditEntry);
      if (found.length < BATCH) return;
      start = `(${found.at(-1)![0]}`;
    }
  }

  async newest(beforeId: string | undefined, count: number): Promise<StoredAuditEntry[]> {
    const end = beforeId === undefined ? '+' : `(${beforeId}`;
    return (await this.#attempt((redis) => redis.xrevrange(`${this.#flags}:audit`, end, '-', 'COUNT', count))).map(readAuditEntry);
  }

  async head(): Promise<AuditHead> {
    return readAuditHead(await this.#attempt((redis) => redis.hmget(`${this.#flags}:audit-head`, 'count', 'hash')));
  }

  async base(): Promise<AuditBase> {
    const [count, hash, revision, atMs, state] = await this.#attempt((redis) => redis.hmget(`${this.#flags}:audit-base`, 'count', 'hash', 'revision', 'atMs', 'state'));
    return { ...readAuditHead([count ?? null, hash ?? null]), revision: BigInt(revision ?? 0), atMs: Number(atMs ?? 0), state: state ?? '' };
  }

  async changedAt(revisions: readonly bigint[]): Promise<ReadonlyMap<bigint, number>> {
    const { revision: archived, atMs } = await this.base();
    const found = new Map<bigint, number>(revisions.filter((revision) => revision > 0n && revision <= archived).map((revision) => [revision, atMs]));
    const wanted = revisions.filter((revision) => revision > archived);
    for (let start = 0; start < wanted.length; start += BATCH) {
      const answers = await this.#attempt((redis) => {
        const batch = redis.pipeline();
        for (const revision of wanted.slice(start, start + BATCH)) batch.xrange(`${this.#flags}:audit`, String(revision), String(revision), 'COUNT', 1);
        return batch.exec();
      });
      for (const [error, entries] of answers ?? []) {
        if (error) throw error;
        const [entry] = (entries as [string, string[]][]).map(readAuditEntry).map(readEntry);
        if (entry) found.set(entry.revision, entry.atMs);
      }
    }
    return found;
  }
}
