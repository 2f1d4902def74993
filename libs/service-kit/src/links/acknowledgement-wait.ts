/** What became of one revision: who applied it, in how many milliseconds, and who has not answered. */
export interface PropagationProof {
  readonly acknowledged: { replicaId: string; milliseconds: number }[];
  readonly missing: string[];
}

export interface AwaitedRevision {
  /** Who shall acknowledge it. */
  readonly expected: readonly string[];
  readonly hasAcknowledged: (replicaId: string) => boolean;
  /** Whether nothing more will come from one. Default: never. */
  readonly isGone?: (replicaId: string) => boolean;
  /** From when on the milliseconds count, by `performance.now()`. */
  readonly startedAt: number;
  /** Longest wait, in milliseconds. */
  readonly timeoutMs: number;
}

/** Waits until replicas have acknowledged a revision. Whoever hears of them says each time that something was heard. */
export class AcknowledgementWait {
  readonly #checks = new Set<() => void>();

  heard(): void {
    for (const check of [...this.#checks]) check();
  }

  /** Resolves once everybody has acknowledged or is gone, or the time is over. Who has not acknowledged is missing. */
  async prove({ expected, hasAcknowledged, isGone = () => false, startedAt, timeoutMs }: AwaitedRevision): Promise<PropagationProof> {
    const acknowledged = new Map<string, number>();
    const isSettled = (): boolean => {
      for (const id of expected) if (!acknowledged.has(id) && hasAcknowledged(id)) acknowledged.set(id, performance.now() - startedAt);
      return expected.every((id) => acknowledged.has(id) || isGone(id));
    };
    if (!isSettled()) await this.#until(isSettled, timeoutMs);
    return {
      acknowledged: [...acknowledged].map(([replicaId, milliseconds]) => ({ replicaId, milliseconds })),
      missing: expected.filter((id) => !acknowledged.has(id)),
    };
  }

  #until(isSettled: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#checks.delete(check);
        resolve();
      };
      const check = (): void => {
        if (isSettled()) finish();
      };
      const timer = setTimeout(finish, timeoutMs);
      this.#checks.add(check);
    });
  }
}
