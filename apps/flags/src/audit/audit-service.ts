import { createHash } from 'node:crypto';
import { errors } from '../errors.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { AuditBase, AuditHead, FlagStore } from '../store/flag-store.ts';
import { type AuditEntry, problemOf, readEntry } from './audit-entry.ts';
import { PastState } from './past-state.ts';

const BATCH = 500;
const MAX_LIMIT = 1_000;
/** Most entries that one search reads; the answer says where to read on. */
const MAX_SCANNED = 20_000;
const MAX_PROBLEMS = 50;

export interface AuditSearch {
  readonly flag: string;
  readonly actor: string;
  readonly action: string;
  readonly text: string;
  readonly sinceMs: number;
  /** 0 for no bound. */
  readonly untilMs: number;
  /** 0 for the newest. */
  readonly beforeRevision: bigint;
  readonly limit: number;
}

export interface Verification {
  readonly entries: number;
  readonly headHash: string;
  readonly problems: string[];
}

/** A moment of the past. */
export type Moment = { readonly revision: bigint } | { readonly atMs: number };

/** Reads the audit trail: search, verification, and the flags of any moment (SPEC F22). */
export class AuditService {
  readonly #store: FlagStore;
  readonly #live: LiveFlags;

  constructor(store: FlagStore, live: LiveFlags) {
    this.#store = store;
    this.#live = live;
  }

  /** The newest first. All entries of one revision are answered together. */
  async search(search: AuditSearch): Promise<{ entries: AuditEntry[]; next: bigint | undefined }> {
    const limit = Math.min(search.limit || 100, MAX_LIMIT);
    const matches = matcher(search);
    const found: AuditEntry[] = [];
    let before = search.beforeRevision === 0n ? undefined : `${search.beforeRevision}-0`;
    let reached = 0n;
    for (let scanned = 0; scanned < MAX_SCANNED; ) {
      const batch = await this.#store.newestAudit(before, BATCH);
      for (const stored of batch) {
        before = stored.id;
        const entry = readEntry(stored);
        if (!entry) continue;
        if (found.length >= limit && entry.revision !== found.at(-1)!.revision) return { entries: found, next: found.at(-1)!.revision };
        if (entry.atMs < search.sinceMs) return { entries: found, next: undefined };
        if (matches(entry)) found.push(entry);
        reached = entry.revision;
      }
      scanned += batch.length;
      if (batch.length < BATCH) return { entries: found, next: undefined };
    }
    return { entries: found, next: reached };
  }

  /** Follows the chain from its first entry to its head, and holds it against the head that was known here before. */
  async verify(): Promise<Verification> {
    // Before the trail, so that a change meanwhile is no removal.
    const noted = await this.#store.auditHead();
    const known = this.#live.auditHead;
    const base = await this.#store.auditBase();
    const problems: string[] = [];
    const hashAt = new Map<number, string>([[base.count, base.hash]]);
    let [entries, previousHash] = [base.count, base.hash];
    let isDeclared = base.count === 0;
    for await (const batch of this.#store.auditTrail()) {
      for (const stored of batch) {
        isDeclared ||= readEntry(stored)?.action === 'audit.archive' && declares(stored.after, base);
        const problem = problemOf(stored, previousHash);
        if (problem && problems.length < MAX_PROBLEMS) problems.push(problem);
        previousHash = stored.hash;
        if (++entries === noted.count || entries === known.count) hashAt.set(entries, stored.hash);
      }
    }
    if (!isDeclared) problems.push(`The trail begins after entry number ${base.count}, and no entry says that those before it were archived: entries were removed.`);
    problems.push(...endProblems(noted, 'noted with the last change', hashAt));
    // What was known before the archive was made is held against the archive alone.
    if (known.count >= base.count) problems.push(...endProblems(known, 'known to this flag service', hashAt));
    return { entries, headHash: previousHash, problems };
  }

  /** The flags at a moment: after the last change that was not later. @throws REVISION_ARCHIVED when the trail begins later */
  async at(moment: Moment): Promise<PastState> {
    const base = await this.#store.auditBase();
    if ('revision' in moment ? moment.revision < base.revision : moment.atMs < base.atMs) throw errors.REVISION_ARCHIVED({ revision: String(base.revision) });
    const past = PastState.fromText(base.state, base);
    const range = 'revision' in moment ? { upToRevision: moment.revision } : {};
    for await (const batch of this.#store.auditTrail(range)) {
      for (const stored of batch) {
        const entry = readEntry(stored);
        if (!entry) continue;
        if ('atMs' in moment && entry.atMs > moment.atMs) return past;
        past.follow(entry);
      }
    }
    return past;
  }
}

/** Whether the text of an entry says that the trail begins there. */
function declares(text: string | undefined, { count, hash, state }: AuditBase): boolean {
  try {
    const declared = JSON.parse(text ?? '') as { entries?: unknown; hash?: unknown; state?: unknown };
    return declared.entries === count && declared.hash === hash && declared.state === createHash('sha256').update(state).digest('hex');
  } catch {
    return false;
  }
}

/** Holds the trail against where it once ended. */
function endProblems({ count, hash }: AuditHead, what: string, hashAt: ReadonlyMap<number, string>): string[] {
  const found = hashAt.get(count);
  if (found === undefined) return [`The trail has fewer than the ${count} entries ${what}: entries were removed.`];
  return found === hash ? [] : [`Entry number ${count} is not the one ${what}: the trail was written anew.`];
}

function matcher({ flag, actor, action, text, untilMs }: AuditSearch): (entry: AuditEntry) => boolean {
  const wanted = text.toLowerCase();
  const holds = ({ reason, actor: by, flag: of, before, after }: AuditEntry): boolean => [reason, by, of, before, after].some((part) => part?.toLowerCase().includes(wanted));
  return (entry) =>
    (flag === '' || entry.flag === flag) &&
    (actor === '' || entry.actor === actor) &&
    (action === '' || entry.action === action) &&
    (untilMs === 0 || entry.atMs <= untilMs) &&
    (wanted === '' || holds(entry));
}
