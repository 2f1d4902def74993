import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type Logger, writeFileAtomically } from '@mlx-serving/service-kit';
import type { AuditBase, FlagStore, StoredAuditEntry } from '../store/flag-store.ts';
import { problemOf, readEntry } from './audit-entry.ts';
import { PastState } from './past-state.ts';

const LOOK_EVERY_MS = 60_000;
const LEASE_MS = 30_000;
/** Most characters of one archive: what lies beyond goes into the next. */
const MAX_LENGTH = 64 * 1024 * 1024;

export interface AuditArchiveOptions {
  readonly id: string;
  readonly store: Pick<FlagStore, 'auditBase' | 'auditHead' | 'auditTrail' | 'trimAudit' | 'takeLease'>;
  /** Where the archives go. */
  readonly folder: string;
  /** Entries that stay in the store. A tenth more may gather before the oldest go. */
  readonly keep: number;
  readonly logger: Logger;
}

/** What goes to an archive, and where the trail begins then. */
interface Oldest {
  readonly lines: string[];
  readonly base: AuditBase;
}

/**
 * Keeps the audit trail in the store bounded: the oldest entries go to files, which stay part of the chain. A trail in which
 * something is wrong is left as it is.
 */
export class AuditArchive {
  readonly #options: AuditArchiveOptions;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<unknown> = Promise.resolve();

  constructor(options: AuditArchiveOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer ??= setInterval(() => void (this.#looking = this.#look()), LOOK_EVERY_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** Archives what is too much. @returns the file, or undefined when there was nothing to do */
  async archive(): Promise<string | undefined> {
    const { store, keep, folder, id, logger } = this.#options;
    const [base, head] = [await store.auditBase(), await store.auditHead()];
    if (head.count - base.count <= keep + Math.max(1, keep / 10)) return undefined;
    const oldest = await this.#oldest(base, head.count - base.count - keep);
    if (!oldest) return undefined;
    const text = oldest.lines.join('');
    const file = join(folder, `${base.count + 1}-${oldest.base.count}.jsonl`);
    await writeFileAtomically(file, text, 0o600);
    const summary = JSON.stringify({ entries: oldest.base.count, hash: oldest.base.hash, state: sha256(oldest.base.state), file: `${id}/${base.count + 1}-${oldest.base.count}.jsonl`, sha256: sha256(text) });
    const done = await store.trimAudit({ actor: `archive:${id}`, reason: 'the oldest entries went to a file', action: 'audit.archive', atMs: Date.now(), former: base.count, base: oldest.base, summary });
    if (done) logger.info({ file, entries: oldest.lines.length }, 'the oldest entries of the audit trail went to an archive');
    return done ? file : undefined;
  }

  async #look(): Promise<void> {
    const { store, id, logger } = this.#options;
    try {
      if (await store.takeLease(`archive:${id}`, LEASE_MS, 'archive')) await this.archive();
    } catch (error) {
      logger.warn({ problem: error instanceof Error ? error.message : String(error) }, 'the audit trail cannot be archived');
    }
  }

  /** The oldest entries, whole revisions only. @returns undefined when something is wrong with one of them, or none may go */
  async #oldest(from: AuditBase, count: number): Promise<Oldest | undefined> {
    const past = PastState.fromText(from.state, from);
    const [lines, group]: [string[], StoredAuditEntry[]] = [[], []];
    let [hash, length] = [from.hash, 0];
    for await (const batch of this.#options.store.auditTrail()) {
      for (const stored of batch) {
        const problem = problemOf(stored, hash);
        if (problem !== undefined) {
          this.#options.logger.error({ problem }, 'the audit trail is not intact and is not archived: run `mlx-serving flags verify`');
          return undefined;
        }
        const entry = readEntry(stored)!;
        if (group.length > 0 && entry.revision !== past.revision) {
          lines.push(...group.splice(0).map((one) => `${JSON.stringify(one)}\n`));
          if (lines.length >= count || length > MAX_LENGTH) return { lines, base: { count: from.count + lines.length, hash, revision: past.revision, atMs: past.atMs, state: past.toText() } };
        }
        past.follow(entry);
        group.push(stored);
        hash = stored.hash;
        length += stored.entry.length + (stored.before?.length ?? 0) + (stored.after?.length ?? 0);
      }
    }
    return undefined;
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
