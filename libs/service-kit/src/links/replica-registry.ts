import type { ServerDuplexStream } from '@grpc/grpc-js';
import { ServiceError, toGrpcError } from '../errors.ts';

/** What became of one revision: who applied it, in how many milliseconds, and who has not answered. */
export interface PropagationProof {
  readonly acknowledged: { replicaId: string; milliseconds: number }[];
  readonly missing: string[];
}

/** Most messages that wait for one slow replica; beyond it the link ends, and the replica links again and gets the whole. */
const MAX_UNSENT = 1_000;

interface Replica<Up, Down> {
  readonly id: string;
  readonly call: ServerDuplexStream<Up, Down>;
  acknowledged: bigint;
}

/** The server's end of all links of one kind: who is linked, what each has acknowledged, and how to reach them all. */
export class ReplicaRegistry<Up, Down> {
  readonly #replicas = new Map<string, Replica<Up, Down>>();
  readonly #waiting = new Set<() => void>();

  get ids(): string[] {
    return [...this.#replicas.keys()].sort();
  }

  /** Takes a link in. A replica that links again replaces its former link. */
  add(id: string, call: ServerDuplexStream<Up, Down>, acknowledged = 0n): void {
    const former = this.#replicas.get(id);
    this.#replicas.set(id, { id, call, acknowledged });
    if (former && former.call !== call) former.call.end();
    const remove = (): void => {
      if (this.#replicas.get(id)?.call !== call) return;
      this.#replicas.delete(id);
      this.#notify();
    };
    call.once('cancelled', remove);
    call.once('end', remove);
    call.once('error', remove);
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
    this.#notify();
  }

  /**
   * Waits until every replica that is linked now has acknowledged the revision, or the time is over.
   * A replica that unlinks meanwhile counts as missing.
   */
  async propagation(revision: bigint, startedAt: number, timeoutMs: number): Promise<PropagationProof> {
    const expected = this.ids;
    const acknowledged = new Map<string, number>();
    const collect = (): boolean => {
      for (const id of expected) {
        if (!acknowledged.has(id) && (this.#replicas.get(id)?.acknowledged ?? -1n) >= revision) acknowledged.set(id, performance.now() - startedAt);
      }
      return expected.every((id) => acknowledged.has(id) || !this.#replicas.has(id));
    };
    if (!collect()) await this.#until(collect, timeoutMs);
    return {
      acknowledged: [...acknowledged].map(([replicaId, milliseconds]) => ({ replicaId, milliseconds })),
      missing: expected.filter((id) => !acknowledged.has(id)),
    };
  }

  /** Ends every link, so that the server can stop. */
  close(): void {
    for (const replica of this.#replicas.values()) replica.call.end();
    this.#replicas.clear();
    this.#notify();
  }

  #until(done: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve();
      };
      const check = (): void => {
        if (done()) finish();
      };
      const timer = setTimeout(finish, timeoutMs);
      this.#waiting.add(check);
    });
  }

  #notify(): void {
    for (const check of [...this.#waiting]) check();
  }
}
