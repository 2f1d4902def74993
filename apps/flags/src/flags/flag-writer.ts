import type { Logger } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { FlagReplicas } from '../link/link-handler.ts';
import type { FlagPeers } from '../peers/flag-peers.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import type { SnapshotRefresher } from '../snapshot/snapshot-refresher.ts';
import type { DeleteFlagWrite, FlagStore, RecordWrite, SetFlagWrite, WriteResult } from '../store/flag-store.ts';
import type { Change, Proof, WriteKind } from './flag-change.ts';

export interface FlagWriterOptions {
  readonly store: FlagStore;
  readonly live: LiveFlags;
  readonly refresher: SnapshotRefresher;
  readonly replicas: FlagReplicas;
  readonly peers: FlagPeers;
  readonly logger: Logger;
  /** Longest wait for the acknowledgements of a change, in milliseconds. */
  readonly acknowledgeWithinMs: number;
  readonly onWrite: (kind: WriteKind) => void;
}

export type Written = Extract<WriteResult, { state: unknown }>;

/** How often a write is repeated when another tool changes the flag meanwhile. */
const ATTEMPTS = 3;

/** How every change is made: stored, put in force here, sent to every link, and proved (SPEC F19). */
export class FlagWriter {
  readonly #options: FlagWriterOptions;

  constructor(options: FlagWriterOptions) {
    this.#options = options;
  }

  assertLoaded(): void {
    if (this.#options.live.takenAtMs === undefined) throw errors.NOT_LOADED();
  }

  /** @throws NOT_LOADED or STORE_LOST */
  assertWritable(): void {
    this.assertLoaded();
    if (this.#options.refresher.lost) throw errors.STORE_LOST();
  }

  /**
   * Writes a flag and puts it in force here. When the store holds another text than was known, reads it again and repeats.
   * @param build makes the write from what is in force now
   */
  write(name: string, build: () => SetFlagWrite): Promise<Written> {
    return this.#repeated(name, build, (write) => this.#options.store.setFlag(write));
  }

  /** The same for a deletion. */
  delete(name: string, build: () => DeleteFlagWrite): Promise<Written> {
    return this.#repeated(name, build, (write) => this.#options.store.deleteFlag(write));
  }

  /**
   * Writes a record beside the flags and puts it in force here.
   * @returns the revision of the store after it
   */
  async putRecord(write: RecordWrite): Promise<bigint> {
    this.assertWritable();
    const { outcome, revision } = await this.#options.store.putRecord(write);
    await this.#options.refresher.reload();
    if (outcome === 'stale') throw errors.WRITE_CONTENDED({ name: write.id });
    return revision;
  }

  /** Takes over the answer of a write at once, without waiting for the store's announcement. */
  async putInForce({ outcome, state, names }: Written): Promise<void> {
    const { live, refresher } = this.#options;
    const isNext = outcome === 'written' && live.apply(state, names, names.length === 0);
    if (!isNext && state.revision > live.storeRevision) await refresher.reload();
  }

  /** Waits for the acknowledgements of every gateway, of the other flag services' too. */
  async prove(kind: WriteKind, storeRevision: bigint, startedAt: number, what: Change & { name?: string }): Promise<Proof> {
    const { replicas, peers, live, logger, acknowledgeWithinMs, onWrite } = this.#options;
    onWrite(kind);
    const [here, elsewhere] = await Promise.all([
      replicas.propagation(live.revision, startedAt, acknowledgeWithinMs),
      peers.propagation(storeRevision, startedAt, acknowledgeWithinMs),
    ]);
    const acknowledged = [...here.acknowledged, ...elsewhere.acknowledged];
    const proof = { revision: storeRevision, acknowledged, missing: missingOf([...here.missing, ...elsewhere.missing], acknowledged), durable: true };
    this.#log(kind, proof, what);
    logger.debug({ revision: String(live.revision) }, 'revision sent to the gateways');
    return proof;
  }

  /** The same for a kill that the store does not have yet: whoever is linked elsewhere cannot be reached. */
  async proveHere(kind: WriteKind, startedAt: number, what: Change & { name?: string }): Promise<Proof> {
    const { replicas, peers, live, acknowledgeWithinMs, onWrite } = this.#options;
    onWrite(kind);
    const here = await replicas.propagation(live.revision, startedAt, acknowledgeWithinMs);
    const proof = { revision: live.revision, acknowledged: here.acknowledged, missing: missingOf([...here.missing, ...peers.gatewaysElsewhere()], here.acknowledged), durable: false };
    this.#log(kind, proof, what);
    return proof;
  }

  async #repeated<T extends SetFlagWrite | DeleteFlagWrite>(name: string, build: () => T, write: (built: T) => Promise<WriteResult>): Promise<Written> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      this.assertWritable();
      const built = build();
      const result = await write(built);
      if (result.outcome !== 'stale') {
        const written = assertWritten(name, result);
        await this.putInForce(written);
        // What went with the write is known here at once, too.
        if (built.dependsOn?.settles) await this.#options.refresher.reload().catch(() => undefined);
        return written;
      }
      await this.#options.refresher.reload();
    }
    throw errors.WRITE_CONTENDED({ name });
  }

  #log(kind: WriteKind, proof: Proof, { actor, reason, name }: Change & { name?: string }): void {
    const { revision, acknowledged, missing, durable } = proof;
    this.#options.logger.info({ kind, flag: name, actor, reason, revision: String(revision), acknowledged: acknowledged.length, missing, durable }, 'flags changed');
  }
}

/** Each once, and none that has acknowledged by another way. */
function missingOf(missing: readonly string[], acknowledged: Proof['acknowledged']): string[] {
  return [...new Set(missing)].filter((id) => !acknowledged.some(({ replicaId }) => replicaId === id)).sort();
}

/** @throws what kept the write from being done */
export function assertWritten(name: string, result: WriteResult): Written {
  if (result.outcome === 'not-found') throw errors.FLAG_NOT_FOUND({ name });
  if (result.outcome === 'superseded') throw errors.CHANGE_SUPERSEDED({ name });
  if (result.outcome === 'stale') throw errors.WRITE_CONTENDED({ name });
  if (result.outcome === 'revision-mismatch') throw errors.REVISION_MISMATCH({ name, actual: String(result.revision) });
  return result;
}
