/** Most pairs that are kept: acknowledgements are never that far behind. */
const KEPT = 256;

/** Which revision of the store lies behind each revision that was sent to the gateways. */
export class RevisionLog {
  readonly #pairs: { revision: bigint; storeRevision: bigint }[] = [];

  note(revision: bigint, storeRevision: bigint): void {
    this.#pairs.push({ revision, storeRevision });
    if (this.#pairs.length > KEPT) this.#pairs.shift();
  }

  /** 0 when it is not known. */
  storeRevisionOf(revision: bigint): bigint {
    for (let i = this.#pairs.length - 1; i >= 0; i--) if (this.#pairs[i]!.revision <= revision) return this.#pairs[i]!.storeRevision;
    return 0n;
  }
}
