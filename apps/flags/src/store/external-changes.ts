import { createHash } from 'node:crypto';
import type { AuditHead } from './flag-store.ts';

/** What another tool did to one flag since it last got a revision. */
export interface ExternalChange {
  readonly name: string;
  /** Its text and the SHA-256 of that when it last got a revision; undefined when there was none. */
  readonly before: { readonly text: string; readonly digest: string } | undefined;
  /** Undefined when it was deleted. */
  readonly after: string | undefined;
}

/** What the store stands at before external changes are taken over. */
export interface Base {
  readonly revision: bigint;
  readonly head: AuditHead;
}

/** Most flags and characters of one step, so that Redis is held up for a moment only. */
const MOST_FLAGS = 50;
const MOST_LENGTH = 512 * 1024;

/** Changes in steps that Redis takes at once. */
export function inSteps(changes: readonly ExternalChange[]): ExternalChange[][] {
  const steps: ExternalChange[][] = [];
  let length = Number.POSITIVE_INFINITY;
  for (const change of changes) {
    const more = (change.before?.text.length ?? 0) + (change.after?.length ?? 0);
    if (length + more > MOST_LENGTH || steps.at(-1)!.length >= MOST_FLAGS) {
      steps.push([]);
      length = 0;
    }
    steps.at(-1)!.push(change);
    length += more;
  }
  return steps;
}

/**
 * The arguments of the script `adoptFlags` for one step, with the entries of the audit trail.
 * @returns them, and what the store stands at afterwards
 */
export function adoption({ revision, head }: Base, changes: readonly ExternalChange[], atMs: number): { argv: string[]; next: Base } {
  const next = revision + 1n;
  const argv = [String(revision), head.hash];
  let hash = head.hash;
  for (const { name, before, after } of changes) {
    const digest = after === undefined ? '' : sha256(after);
    const author = { actor: 'external', reason: 'written by another tool', action: 'external' };
    const entry = JSON.stringify({ revision: Number(next), at: atMs, ...author, flag: name, before: before?.digest ?? null, after: digest || null, previousHash: hash });
    hash = sha256(entry);
    argv.push(name, after === undefined ? '0' : '1', after ?? '', digest, before ? '1' : '0', before?.text ?? '', entry, hash);
  }
  return { argv, next: { revision: next, head: { count: head.count + changes.length, hash } } };
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
