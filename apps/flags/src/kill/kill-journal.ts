import { mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { type Logger, readFileIfPresent, writeFileAtomically } from '@mlx-serving/service-kit';

const entry = z.object({
  /** The flag; empty for the emergency. */
  flag: z.string(),
  killSwitch: z.boolean().optional(),
  rollbackToBaseline: z.boolean().optional(),
  actor: z.string(),
  reason: z.string(),
  atMs: z.number(),
});

/** A kill that the store does not have yet. */
export type JournalEntry = z.infer<typeof entry>;

/** Kills on disk until the store has them: each is forced to the disk before its caller hears of it (SPEC F14). */
export class KillJournal {
  readonly #path: string;
  readonly #logger: Logger;
  #entries: JournalEntry[] = [];
  #last: Promise<void> = Promise.resolve();
  /** The file still has entries that were taken out. */
  #isBehind = false;
  #problem = '';

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
  }

  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  /** Reads what a former run left. A line that was cut off by a crash was never confirmed, and is left out. */
  async load(): Promise<void> {
    const bytes = await readFileIfPresent(this.#path);
    const lines = bytes ? Buffer.from(bytes).toString('utf8').split('\n').filter(Boolean) : [];
    this.#entries = lines.flatMap((line) => {
      try {
        return [entry.parse(JSON.parse(line))];
      } catch {
        this.#logger.warn({ file: this.#path, length: line.length }, 'a line of the journal of kills cannot be read');
        return [];
      }
    });
  }

  /** Resolves once the entry is on disk. The kill is in force before, and stays so if the disk fails. One that says nothing new is not written again. */
  append(added: JournalEntry): Promise<void> {
    if (this.#entries.some((entry) => saysTheSame(entry, added))) return this.#last;
    this.#entries.push(added);
    return this.#inTurn(async () => {
      await mkdir(dirname(this.#path), { recursive: true });
      const file = await open(this.#path, 'a', 0o600);
      try {
        await file.appendFile(`${JSON.stringify(added)}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
    });
  }

  /** Takes out what the store has now. Never rejects: a disk that does not take it is tried again by `tidy`. */
  remove(done: readonly JournalEntry[]): Promise<void> {
    const gone = new Set(done);
    this.#entries = this.#entries.filter((kept) => !gone.has(kept));
    this.#isBehind = true;
    return this.tidy();
  }

  /** Takes out of the file what could not be taken out before: after a restart it would kill again what was revived since. Never rejects. */
  tidy(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#isBehind) return;
      this.#isBehind = false;
      try {
        await this.#rewrite();
        this.#problem = '';
      } catch (error) {
        this.#isBehind = true;
        const problem = String(error);
        if (problem !== this.#problem) this.#logger.error({ file: this.#path, problem }, 'kills that the store has cannot be taken out of the journal; trying again');
        this.#problem = problem;
      }
    });
  }

  async #rewrite(): Promise<void> {
    try {
      await writeFileAtomically(this.#path, this.#entries.map((kept) => `${JSON.stringify(kept)}\n`).join(''), 0o600);
    } catch (error) {
      // A disk that is full still deletes.
      if (this.#entries.length > 0) throw error;
      await rm(this.#path, { force: true });
    }
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

function saysTheSame(one: JournalEntry, other: JournalEntry): boolean {
  return one.flag === other.flag && one.killSwitch === other.killSwitch && one.rollbackToBaseline === other.rollbackToBaseline;
}
