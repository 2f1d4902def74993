import type { ServerDuplexStream } from '@grpc/grpc-js';
import { ServiceError, toGrpcError } from '../errors.ts';
import { AcknowledgementWait, type PropagationProof } from './acknowledgement-wait.ts';

/** Most messages that wait for one slow replica; beyond it the link ends, and the replica links again and gets the whole. */
const MAX_UNSENT = 1_000;
/** How long a replica that did not say goodbye is taken to live on without its link, in milliseconds. */
const ABSENT_MS = 300_000;
const MAX_ABSENT = 1_000;

interface Replica<Up, Down> {
  readonly id: string;
  readonly call: ServerDuplexStream<Up, Down>;
  acknowledged: bigint;
}

/**
 * The server's end of all links of one kind: who is linked, what each has acknowledged, and how to reach them all.
 * A replica that ends its link has gone; one whose link broke may still be at work, and is missing until it links again.
 */
export class ReplicaRegistry<Up, Down> {
  readonly #replicas = new Map<string, Replica<Up, Down>>();
  readonly #wait = new AcknowledgementWait();
  /** When each link broke. */
  readonly #absent = new Map<string, number>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get ids(): string[] {
    return [...this.#replicas.keys()].sort();
  }

  /** The revision that each has acknowledged since it linked; who has acknowledged none is not in it. */
  get acknowledgements(): ReadonlyMap<string, bigint> {
    return new Map([...this.#replicas.values()].filter(({ acknowledged }) => acknowledged > 0n).map(({ id, acknowledged }) => [id, acknowledged]));
  }

  /** Replicas whose links broke within the last five minutes. */
  get absent(): string[] {
    for (const [id, sinceMs] of this.#absent) if (this.#now() - sinceMs > ABSENT_MS) this.#absent.delete(id);
    return [...this.#absent.keys()].sort();
  }

  /** Takes a link in. A replica that links again replaces its former link. */
  add(id: string, call: ServerDuplexStream<Up, Down>, acknowledged = 0n): void {
    const former = this.#replicas.get(id);
    this.#replicas.set(id, { id, call, acknowledged });
    this.#absent.delete(id);
    if (former && former.call !== call) former.call.end();
    const remove = (broken: boolean): void => {
      if (this.#replicas.get(id)?.call !== call) return;
      this.#replicas.delete(id);
      if (broken) this.remember([id]);
      this.#wait.heard();
    };
    call.once('cancelled', () => remove(true));
    call.once('end', () => remove(false));
    call.once('error', () => remove(true));
  }

  /** Takes replicas for absent that are not linked: those of a former run, for one. */
  remember(ids: readonly string[]): void {
    for (const id of ids) if (!this.#replicas.has(id) && this.#absent.size < MAX_ABSENT) this.#absent.set(id, this.#now());
  }

  /** Somebody else has heard of them: they are not absent. */
  forget(ids: readonly string[]): void {
    for (const id of ids) this.#absent.delete(id);
  }

  broadcast(message: Down): void {
    for (const { call } of [...this.#replicas.values()]) {
      if (call.writableLength < MAX_UNSENT) call.write(message);
      else call.emit('error', toGrpcError(new ServiceError('RESOURCE_EXHAUSTED', 'LINK_TOO_SLOW', 'The link does not keep up; link again.')));
    }
  }

  acknowledge(id: string, revision: bigint): void {
    const replica = this.#replicas.get(id);
    if (!replica || revision < replica.acknowledged) return;
    replica.acknowledged = revision;
    this.#wait.heard();
  }

  /**
   * Waits until every replica that is linked now has acknowledged the revision, or the time is over.
   * A replica that is absent, or unlinks meanwhile, counts as missing.
   */
  propagation(revision: bigint, startedAt: number, timeoutMs: number): Promise<PropagationProof> {
    return this.#wait.prove({
      expected: [...new Set([...this.ids, ...this.absent])].sort(),
      hasAcknowledged: (id) => (this.#replicas.get(id)?.acknowledged ?? -1n) >= revision,
      isGone: (id) => !this.#replicas.has(id),
      startedAt,
      timeoutMs,
    });
  }

  /** Ends every link, so that the server can stop. The replicas live on. */
  close(): void {
    const ids = this.ids;
    for (const replica of this.#replicas.values()) replica.call.end();
    this.#replicas.clear();
    this.remember(ids);
    this.#wait.heard();
  }
}
