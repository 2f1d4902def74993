import type { PropagationProof } from '@mlx-serving/service-kit';
import type { LiveFlag } from '../snapshot/live-flags.ts';

export const WRITE_KINDS = ['set', 'delete', 'kill', 'revive', 'emergency', 'segment', 'file'] as const;
export type WriteKind = (typeof WRITE_KINDS)[number];

/** Who changes something, and why. */
export interface Change {
  readonly actor: string;
  readonly reason: string;
}

export interface Proof extends PropagationProof {
  readonly revision: bigint;
  /** False: the store does not have the change yet; it is journalled on disk. */
  readonly durable: boolean;
}

/** A change that waits for a second person. */
export interface PendingChange {
  readonly id: string;
  readonly action: 'set' | 'delete' | 'rollout';
  readonly flag: string;
  /** What would be written; empty for a deletion. */
  readonly after: string;
  /** The revision of the flag when the change was asked for; 0 for a new flag. */
  readonly revision: string;
  readonly requestedBy: string;
  readonly reason: string;
  readonly atMs: number;
  /** Why it needs a second person. */
  readonly why: string;
  /** Who approved it. Absent: nobody yet. One that is approved and still there could not be carried out. */
  readonly approvedBy?: string | undefined;
}

/** What became of a change: done and proved, or waiting. */
export type Outcome = { readonly flag: LiveFlag | undefined; readonly proof: Proof } | { readonly pending: PendingChange };

/** A change that is in force here and on its way to the gateways, or waits. */
export type Begun = { readonly flag: LiveFlag | undefined; readonly proof: Promise<Proof> } | { readonly pending: PendingChange };

/** The same once the gateways have applied it; what waits for a second person is as it was. */
export type Proved<T> = T extends { readonly proof: Promise<Proof> } ? Omit<T, 'proof'> & { readonly proof: Proof } : T;

/** Waits for the proof of a change that was begun, if it was. */
export async function proved<T extends { readonly proof: Promise<Proof> } | { readonly pending: PendingChange }>(begun: Promise<T>): Promise<Proved<T>> {
  const change = await begun;
  return ('proof' in change ? { ...change, proof: await change.proof } : change) as Proved<T>;
}
