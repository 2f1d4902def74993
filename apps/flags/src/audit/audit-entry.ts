import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { StoredAuditEntry } from '../store/flag-store.ts';

const hashed = z.object({
  revision: z.number(),
  at: z.number(),
  actor: z.string(),
  reason: z.string(),
  action: z.string(),
  flag: z.string(),
  before: z.string().nullable(),
  after: z.string().nullable(),
  previousHash: z.string(),
});

/** One change: who, what, when, why, before and after (SPEC F22). */
export interface AuditEntry {
  readonly revision: bigint;
  readonly atMs: number;
  readonly actor: string;
  readonly reason: string;
  readonly action: string;
  readonly flag: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
  readonly previousHash: string;
  readonly hash: string;
}

/** @returns undefined for an entry that cannot be read */
export function readEntry({ entry, hash, before, after }: StoredAuditEntry): AuditEntry | undefined {
  const parsed = parse(entry);
  if (!parsed) return undefined;
  const { revision, at, actor, reason, action, flag, previousHash } = parsed;
  return { revision: BigInt(revision), atMs: at, actor, reason, action, flag, before, after, previousHash, hash };
}

/** What is wrong with an entry by itself and after the one before it; undefined when all is well. */
export function problemOf(stored: StoredAuditEntry, previousHash: string): string | undefined {
  const parsed = parse(stored.entry);
  const place = `Entry ${stored.id}`;
  if (!parsed) return `${place} cannot be read.`;
  if (sha256(stored.entry) !== stored.hash) return `${place} was edited: its text does not have its hash.`;
  if (digestOf(stored.before) !== parsed.before) return `${place} was edited: the text before the change is another one.`;
  if (digestOf(stored.after) !== parsed.after) return `${place} was edited: the text after the change is another one.`;
  if (String(parsed.revision) !== stored.id.split('-')[0]) return `${place} was moved: it belongs to revision ${parsed.revision}.`;
  if (parsed.previousHash !== previousHash) return `${place} does not follow the one before it: an entry was removed, added or moved here.`;
  return undefined;
}

function parse(text: string): z.output<typeof hashed> | undefined {
  try {
    return hashed.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function digestOf(text: string | undefined): string | null {
  return text === undefined ? null : sha256(text);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
