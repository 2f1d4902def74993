import type { StreamReport, StreamReportBatch } from '@mlx-serving/contracts';

/** Most gateways that are remembered; beyond it the one that was heard longest ago is forgotten. */
const MOST_REPLICAS = 1_000;

interface Seen {
  readonly epoch: string;
  /** The number that the next new report has. */
  next: bigint;
}

/** Lets every report through once: what a gateway sends again after a reconnect is known by its number (SPEC Q1). */
export class ReportGate {
  readonly #replicas = new Map<string, Seen>();

  /** The reports of a batch that are new. @param epoch the gateway's, from its hello */
  pass(replicaId: string, epoch: string, { reports, firstSequence }: StreamReportBatch): StreamReport[] {
    if (firstSequence === 0n) return reports;
    const known = this.#replicas.get(replicaId);
    const seen = known?.epoch === epoch ? known : { epoch, next: 1n };
    this.#replicas.delete(replicaId);
    this.#replicas.set(replicaId, seen);
    if (this.#replicas.size > MOST_REPLICAS) this.#replicas.delete(this.#replicas.keys().next().value as string);
    const repeated = seen.next > firstSequence ? Number(seen.next - firstSequence) : 0;
    const end = firstSequence + BigInt(reports.length);
    if (end > seen.next) seen.next = end;
    return repeated === 0 ? reports : reports.slice(repeated);
  }
}
