import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { errors } from '../errors.ts';
import type { Change, PendingChange } from '../flags/flag-change.ts';
import { ROOT_ACTOR } from '../access/token-service.ts';
import type { FlagWriter } from '../flags/flag-writer.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import { readText } from '../store/read-text.ts';

const MAX_PENDING = 200;

const record = z.object({
  id: z.string(),
  action: z.enum(['set', 'delete', 'rollout']),
  flag: z.string(),
  after: z.string(),
  revision: z.string(),
  requestedBy: z.string(),
  reason: z.string(),
  atMs: z.number(),
  why: z.string(),
});

const tokenAge = z.object({ name: z.string(), createdAtMs: z.number() });

export interface Request extends Change {
  readonly action: PendingChange['action'];
  readonly flag: string;
  readonly after: string;
  readonly revision: bigint;
  readonly why: string;
}

/** Changes that wait for a second person, in the store, so that every flag service knows them. */
export class ApprovalService {
  readonly #live: LiveFlags;
  readonly #writer: FlagWriter;

  constructor(live: LiveFlags, writer: FlagWriter) {
    this.#live = live;
    this.#writer = writer;
  }

  /** The oldest first. */
  list(): PendingChange[] {
    return [...this.#live.records.pending.values()]
      .flatMap((text) => readText(record, text) ?? [])
      .sort((a, b) => a.atMs - b.atMs);
  }

  async ask({ action, flag, after, revision, why, actor, reason }: Request): Promise<PendingChange> {
    if (this.#live.records.pending.size >= MAX_PENDING) throw errors.FLAG_INVALID({ problem: `${MAX_PENDING} changes wait for approval already.` });
    const change: PendingChange = { id: randomBytes(6).toString('hex'), action, flag, after, revision: String(revision), requestedBy: actor, reason, atMs: Date.now(), why };
    await this.#put(change, JSON.stringify(change), { actor, reason }, 'pending.ask');
    return change;
  }

  /**
   * Takes a change off the list, so that it can be done.
   * @throws SECOND_PERSON_NEEDED for who asked for it, whatever name is given; APPROVER_TOO_NEW for a token that was made
   * for the occasion; PENDING_OUTDATED when the flag has changed since
   */
  async approve(id: string, by: Change): Promise<PendingChange> {
    const change = this.#get(id);
    if (identityOf(change.requestedBy) === identityOf(by.actor)) throw errors.SECOND_PERSON_NEEDED({ actor: by.actor });
    if (this.#tokenAgeOf(by.actor) > change.atMs) throw errors.APPROVER_TOO_NEW();
    if (String(this.#live.get(change.flag)?.revision ?? 0n) !== change.revision) throw errors.PENDING_OUTDATED({ name: change.flag });
    await this.#put(change, undefined, by, 'pending.approve');
    return change;
  }

  async reject(id: string, by: Change): Promise<void> {
    await this.#put(this.#get(id), undefined, by, 'pending.reject');
  }

  /** When the token of this name was made, Unix time in milliseconds; 0 when there is none. */
  #tokenAgeOf(name: string): number {
    for (const text of this.#live.records.tokens.values()) {
      const token = readText(tokenAge, text);
      if (token?.name === name) return token.createdAtMs;
    }
    return 0;
  }

  #get(id: string): PendingChange {
    const change = this.list().find((pending) => pending.id === id);
    if (!change) throw errors.PENDING_NOT_FOUND({ id });
    return change;
  }

  async #put(change: PendingChange, text: string | undefined, by: Change, action: string): Promise<void> {
    const former = this.#live.records.pending.get(change.id);
    await this.#writer.putRecord({ kind: 'pending', id: change.id, text, base: { text: former }, ...by, atMs: Date.now(), action });
  }
}

/** Who stands behind an actor: the root token is one identity, whoever it names (`apps/admin/src/http/actor.ts`). */
function identityOf(actor: string): string {
  return actor === ROOT_ACTOR || actor.endsWith(' (root)') ? ROOT_ACTOR : actor;
}
