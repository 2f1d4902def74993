import { type Logger, ServiceError } from '@mlx-serving/service-kit';
import type { ProductionRules } from '../approval/production-rules.ts';
import { errors } from '../errors.ts';
import type { Change, Proof } from '../flags/flag-change.ts';
import { assertWritten, type FlagWriter } from '../flags/flag-writer.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { SnapshotRefresher } from '../snapshot/snapshot-refresher.ts';
import type { EmergencyRecord, FlagStore } from '../store/flag-store.ts';
import type { JournalEntry, KillJournal } from './kill-journal.ts';

export interface KillServiceOptions {
  readonly store: FlagStore;
  readonly live: LiveFlags;
  readonly refresher: SnapshotRefresher;
  readonly writer: FlagWriter;
  readonly journal: KillJournal;
  readonly rules: Pick<ProductionRules, 'assertReason'>;
  readonly logger: Logger;
}

/** The two emergency switches; an absent one keeps its value. */
export interface Switches {
  readonly killSwitch?: boolean | undefined;
  readonly rollbackToBaseline?: boolean | undefined;
}

/**
 * Kills, revives and the emergency. A kill needs neither a reason nor an approval nor the store: without it the kill
 * holds at once, is journalled on disk, and is written when the store returns (SPEC F13, F14, F19).
 */
export class KillService {
  readonly #options: KillServiceOptions;
  #flushing = false;

  constructor(options: KillServiceOptions) {
    this.#options = options;
  }

  /** Names whose kill the store does not have yet; an empty one stands for the emergency. */
  get journalled(): string[] {
    return this.#options.journal.entries.map(({ flag }) => flag);
  }

  /** Puts in force what a former run has journalled. */
  async restore(): Promise<void> {
    await this.#options.journal.load();
    this.latchJournalled();
  }

  async kill(name: string, change: Change): Promise<Proof> {
    const { store, writer } = this.#options;
    const startedAt = performance.now();
    const entry: JournalEntry = { flag: name, ...change, atMs: Date.now() };
    const written = await this.#unlessAway(() => store.killFlag(name, entry));
    if (written === 'away' || (written.outcome === 'not-found' && (await this.#isLost()))) return this.#journal(entry, startedAt);
    const { state, ...rest } = assertWritten(name, written);
    await writer.putInForce({ state, ...rest });
    return writer.prove('kill', state.revision, startedAt, { name, ...change });
  }

  async revive(name: string, change: Change): Promise<Proof> {
    const { store, writer, rules } = this.#options;
    writer.assertWritable();
    rules.assertReason(change);
    await this.flush();
    const startedAt = performance.now();
    const written = assertWritten(name, await store.reviveFlag(name, { ...change, atMs: Date.now() }));
    await writer.putInForce(written);
    return writer.prove('revive', written.state.revision, startedAt, { name, ...change });
  }

  async setEmergency(asked: Switches, change: Change): Promise<{ emergency: EmergencyRecord; proof: Proof }> {
    const { store, writer, live, rules } = this.#options;
    if (asked.killSwitch === undefined && asked.rollbackToBaseline === undefined) throw errors.EMERGENCY_EMPTY();
    const startedAt = performance.now();
    const switches = withoutIdleOffs(asked, live.emergency);
    const { killSwitch, rollbackToBaseline } = switches;
    const onlyOn = killSwitch !== false && rollbackToBaseline !== false;
    if (!onlyOn) {
      writer.assertWritable();
      rules.assertReason(change);
      await this.flush();
    }
    const entry: JournalEntry = { flag: '', killSwitch, rollbackToBaseline, ...change, atMs: Date.now() };
    const write = () => store.setEmergency({ ...switches, ...change, atMs: entry.atMs });
    const written = onlyOn ? await this.#unlessAway(write) : await write();
    if (written === 'away') return { proof: await this.#journal(entry, startedAt), emergency: live.emergency };
    const { state, ...rest } = assertWritten('', written);
    await writer.putInForce({ state, ...rest });
    return { proof: await writer.prove('emergency', state.revision, startedAt, change), emergency: live.emergency };
  }

  /** Writes to the store what was journalled while it was away. */
  async flush(): Promise<void> {
    const { store, live, journal, refresher, logger } = this.#options;
    const entries = [...journal.entries];
    if (entries.length === 0 || this.#flushing || refresher.lost) return;
    this.#flushing = true;
    try {
      await store.raiseRevision(live.revision);
      for (const entry of entries) await this.write(entry);
      await refresher.reload();
      const still = new Set(journal.entries.filter((entry) => !entries.includes(entry)).map(({ flag }) => flag));
      live.release(entries.map(({ flag }) => flag).filter((flag) => !still.has(flag)), !still.has(''));
      await journal.remove(entries);
      logger.info({ flags: entries.map(({ flag }) => flag || 'emergency') }, 'kills that were journalled are in the store');
    } catch (error) {
      logger.warn({ problem: error instanceof Error ? error.message : String(error) }, 'journalled kills wait for the store');
    } finally {
      this.#flushing = false;
    }
  }

  /** Writes one journalled kill, also of a flag that is not there now. */
  async write({ flag, killSwitch, rollbackToBaseline, ...author }: JournalEntry): Promise<void> {
    const { store } = this.#options;
    if (flag === '') await store.setEmergency({ killSwitch, rollbackToBaseline, ...author });
    else await store.killFlag(flag, author, true);
  }

  latchJournalled(): void {
    for (const entry of this.#options.journal.entries) this.#latch(entry);
  }

  /** Takes effect first; then it is made to last. */
  async #journal(entry: JournalEntry, startedAt: number): Promise<Proof> {
    const { live, journal, writer, logger } = this.#options;
    if (entry.flag !== '' && live.takenAtMs !== undefined && !live.get(entry.flag)) throw errors.FLAG_NOT_FOUND({ name: entry.flag });
    this.#latch(entry);
    await journal.append(entry).catch((error: unknown) => logger.error({ err: error, flag: entry.flag }, 'a kill holds in memory, but could not be journalled on disk'));
    const { actor, reason, flag } = entry;
    return writer.proveHere(flag === '' ? 'emergency' : 'kill', startedAt, { name: flag, actor, reason });
  }

  #latch({ flag, killSwitch = false, rollbackToBaseline = false, ...author }: JournalEntry): void {
    const { live } = this.#options;
    if (flag === '') live.latchEmergency({ killSwitch, rollbackToBaseline, ...author });
    else live.latch(flag, author);
  }

  async #unlessAway<T>(write: () => Promise<T>): Promise<T | 'away'> {
    if (this.#options.refresher.lost) return 'away';
    try {
      return await write();
    } catch (error) {
      if (error instanceof ServiceError && (error.reason === 'STORE_UNREACHABLE' || error.reason === 'STORE_LOST')) return 'away';
      throw error;
    }
  }

  /** A flag that is known here and not in the store: was the store emptied? */
  async #isLost(): Promise<boolean> {
    await this.#options.refresher.reload().catch(() => undefined);
    return this.#options.refresher.lost !== undefined;
  }
}

/** One switch is turned on, and the other is said to be off, as it is: that is a kill, and is not held up by what turning off needs. */
function withoutIdleOffs({ killSwitch, rollbackToBaseline }: Switches, now: EmergencyRecord): Switches {
  if (killSwitch && rollbackToBaseline === false && !now.rollbackToBaseline) return { killSwitch };
  if (rollbackToBaseline && killSwitch === false && !now.killSwitch) return { rollbackToBaseline };
  return { killSwitch, rollbackToBaseline };
}
