import type { Logger, PropagationProof } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { FlagReplicas } from '../link/link-handler.ts';
import { mergeDefinition } from '../snapshot/decode-definition.ts';
import type { LiveFlag, LiveFlags } from '../snapshot/live-flags.ts';
import type { SnapshotRefresher } from '../snapshot/snapshot-refresher.ts';
import type { DecisionTotals, EmergencyRecord, EmergencyWrite, FlagStore, SetFlagWrite, WriteResult } from '../store/flag-store.ts';
import type { DecisionCounter } from '../usage/decision-counter.ts';
import { checkAmongOthers, readDefinition } from './check-definition.ts';

export interface FlagsServiceOptions {
  readonly store: FlagStore;
  readonly live: LiveFlags;
  readonly refresher: SnapshotRefresher;
  readonly replicas: FlagReplicas;
  readonly counter: DecisionCounter;
  readonly logger: Logger;
  /** Longest wait for the acknowledgements of a change, in milliseconds. */
  readonly acknowledgeWithinMs: number;
  readonly onWrite: (kind: WriteKind) => void;
}

export type WriteKind = 'set' | 'kill' | 'revive' | 'emergency';

export interface Change {
  readonly actor: string;
  readonly reason: string;
}

export interface Proof extends PropagationProof {
  readonly revision: bigint;
}

type Written = Extract<WriteResult, { state: unknown }>;

/** How often a write is repeated when another tool changes the flag meanwhile. */
const ATTEMPTS = 3;

/** What operators do to flags: each change is stored, put in force here, sent to every link, and proved (SPEC F19). */
export class FlagsService {
  readonly #options: FlagsServiceOptions;

  constructor(options: FlagsServiceOptions) {
    this.#options = options;
  }

  get(name: string): LiveFlag {
    this.#assertLoaded();
    const flag = this.#options.live.get(name);
    if (!flag) throw errors.FLAG_NOT_FOUND({ name });
    return flag;
  }

  /** Writes a definition. A kill stays, whatever the definition says. */
  async set(name: string, definition: string, change: Change & { ifRevision?: bigint | undefined }): Promise<{ flag: LiveFlag; proof: Proof }> {
    this.#assertLoaded();
    const startedAt = performance.now();
    const { config, speaksOfKillSwitch } = readDefinition(name, definition);
    const written = await this.write(name, () => {
      const { live } = this.#options;
      checkAmongOthers(name, config, live.flags);
      const base = live.storedText(name);
      return { name, text: mergeDefinition(base, config, speaksOfKillSwitch), base, ifRevision: change.ifRevision };
    });
    const proof = await this.#prove('set', written, startedAt, { name, ...change });
    return { flag: this.get(name), proof };
  }

  async kill(name: string, { actor, reason }: Change): Promise<Proof> {
    this.#assertLoaded();
    const startedAt = performance.now();
    const written = this.#assertWritten(name, await this.#options.store.killFlag(name, { actor, reason, atMs: Date.now() }));
    return this.#prove('kill', written, startedAt, { name, actor, reason });
  }

  async revive(name: string, change: Change): Promise<Proof> {
    this.#assertLoaded();
    const startedAt = performance.now();
    const written = this.#assertWritten(name, await this.#options.store.reviveFlag(name));
    return this.#prove('revive', written, startedAt, { name, ...change });
  }

  async setEmergency(write: Omit<EmergencyWrite, 'atMs' | 'fileDigest'>): Promise<{ emergency: EmergencyRecord; proof: Proof }> {
    this.#assertLoaded();
    if (write.killSwitch === undefined && write.rollbackToBaseline === undefined) throw errors.EMERGENCY_EMPTY();
    const startedAt = performance.now();
    const written = this.#assertWritten('', await this.#options.store.setEmergency({ ...write, atMs: Date.now() }));
    const proof = await this.#prove('emergency', written, startedAt, { ...write });
    return { emergency: this.#options.live.emergency, proof };
  }

  async decisions(name: string): Promise<DecisionTotals> {
    this.get(name);
    const stored = await this.#options.store.decisions(name);
    const waiting = this.#options.counter.waitingOf(name);
    return { enabled: stored.enabled + waiting.enabled, disabled: stored.disabled + waiting.disabled };
  }

  /**
   * Writes a flag and puts it in force here. When the store holds another text than was known, reads it again and repeats.
   * @param build makes the write from what is in force now
   */
  async write(name: string, build: () => SetFlagWrite): Promise<Written> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const result = await this.#options.store.setFlag(build());
      if (result.outcome !== 'stale') {
        const written = this.#assertWritten(name, result);
        await this.putInForce(written);
        return written;
      }
      await this.#options.refresher.reload();
    }
    throw errors.WRITE_CONTENDED({ name });
  }

  /** Takes over the answer of a write at once, without waiting for the store's announcement. */
  async putInForce({ outcome, state, names }: Written): Promise<void> {
    const { live, refresher } = this.#options;
    const isNext = outcome === 'written' && live.apply(state, names, names.length === 0);
    if (!isNext && state.revision > live.revision) await refresher.reload();
  }

  async #prove(kind: WriteKind, written: Written, startedAt: number, what: Record<string, unknown>): Promise<Proof> {
    const { replicas, logger, acknowledgeWithinMs, onWrite } = this.#options;
    await this.putInForce(written);
    onWrite(kind);
    const { revision } = written.state;
    const proof = await replicas.propagation(revision, startedAt, acknowledgeWithinMs);
    const { ifRevision: _, ...loggable } = what;
    logger.info({ ...loggable, kind, outcome: written.outcome, revision: String(revision), acknowledged: proof.acknowledged.length, missing: proof.missing }, 'flags changed');
    return { revision, ...proof };
  }

  #assertWritten(name: string, result: WriteResult): Written {
    if (result.outcome === 'not-found') throw errors.FLAG_NOT_FOUND({ name });
    if (result.outcome === 'stale') throw errors.WRITE_CONTENDED({ name });
    if (result.outcome === 'revision-mismatch') {
      throw errors.REVISION_MISMATCH({ name, actual: String(result.revision) });
    }
    return result;
  }

  #assertLoaded(): void {
    if (this.#options.live.takenAtMs === undefined) throw errors.NOT_LOADED();
  }
}
