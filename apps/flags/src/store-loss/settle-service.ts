import type { Logger } from '@mlx-serving/service-kit';
import type { ProductionRules } from '../approval/production-rules.ts';
import { errors } from '../errors.ts';
import type { Change } from '../flags/flag-change.ts';
import { assertWritten } from '../flags/flag-writer.ts';
import type { KillService } from '../kill/kill-service.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { SnapshotRefresher } from '../snapshot/snapshot-refresher.ts';
import type { FlagStore, RecordKind, SetFlagWrite, StoredState } from '../store/flag-store.ts';

/** How often a flag is written when somebody else writes it meanwhile. */
const ATTEMPTS = 3;

export interface SettleServiceOptions {
  readonly store: FlagStore;
  readonly live: LiveFlags;
  readonly refresher: SnapshotRefresher;
  readonly kills: KillService;
  readonly rules: Pick<ProductionRules, 'assertReason'>;
  readonly logger: Logger;
  /** Called when the store's own state was accepted, so that the file declares its flags again. */
  readonly onAccepted: () => Promise<void>;
}

/** What an operator decides after the store lost data (SPEC F14). Either way no kill is lost. */
export class SettleService {
  readonly #options: SettleServiceOptions;

  constructor(options: SettleServiceOptions) {
    this.#options = options;
  }

  /** What the store holds is right. Kills that are known here are written to it again. */
  async accept(change: Change): Promise<bigint> {
    await this.#lost(change);
    await this.#writeKills(change);
    const revision = await this.#settle(change, 'store.accept', 'What the store held was accepted.');
    await this.#options.onAccepted();
    return revision;
  }

  /** What is in force here is written to the store. Flags that are only there stay. Can be repeated when it was cut off. */
  async reseed(change: Change): Promise<bigint> {
    const { store, live } = this.#options;
    const lost = await this.#lost(change);
    const author = { ...change, action: 'reseed', atMs: Date.now() };
    await this.#writeKills(change);
    for (const [kind, map] of Object.entries(live.records) as [RecordKind, ReadonlyMap<string, string>][]) {
      if (kind === 'segments') continue;
      for (const [id, text] of map) await store.putRecord({ kind, id, text, ...author, action: `${kind}.reseed`, shown: id });
    }
    for (const { name, text } of live.segments) await store.putRecord({ kind: 'segments', id: name, text, ...author, action: 'segments.reseed' });
    for (const { name, text } of live.flags) await this.#writeFlag({ name, text, base: lost.flags.get(name)?.text, ...author });
    // Else the file would declare its flags again, over what operators did to them since.
    return this.#settle(change, 'store.reseed', 'What the flag service held was written to the store.', live.fileDigests);
  }

  /** @throws REASON_MISSING or STORE_NOT_LOST */
  async #lost(change: Change): Promise<StoredState> {
    const { store, refresher, live, rules } = this.#options;
    rules.assertReason(change);
    await refresher.reload();
    const lost = refresher.lost;
    if (!lost) throw errors.STORE_NOT_LOST();
    store.writeDespiteLoss();
    await store.raiseRevision(live.revision);
    return lost;
  }

  async #writeKills({ actor }: Change): Promise<void> {
    const { live, store, kills } = this.#options;
    for (const [flag, kill] of live.kills) await kills.write({ flag, ...kill, actor: kill.actor || actor });
    const { killSwitch, rollbackToBaseline, ...author } = live.emergency;
    if (killSwitch || rollbackToBaseline) await store.setEmergency({ killSwitch: killSwitch || undefined, rollbackToBaseline: rollbackToBaseline || undefined, ...author });
  }

  /** @throws WRITE_CONTENDED when another tool or flag service keeps writing the same flag */
  async #writeFlag(write: SetFlagWrite): Promise<void> {
    const { store } = this.#options;
    let outcome = await store.setFlag(write);
    for (let attempt = 1; outcome.outcome === 'stale' && attempt < ATTEMPTS; attempt++) {
      const base = (await store.read([write.name])).flags.get(write.name)?.text;
      outcome = await store.setFlag({ ...write, base });
    }
    assertWritten(write.name, outcome);
  }

  async #settle(change: Change, action: string, summary: string, fileDigests: ReadonlyMap<string, string> = new Map()): Promise<bigint> {
    const { store, live, refresher, logger } = this.#options;
    const known = { revision: live.revision, epoch: live.epoch };
    const revision = await store.settle({ ...change, atMs: Date.now(), action, known, summary, fileDigests });
    await refresher.reload();
    logger.warn({ actor: change.actor, reason: change.reason, action, revision: String(revision) }, 'an operator has decided what holds after the loss of the flag store');
    return revision;
  }
}
