import { type KnownStore, NO_AUDIT, type RecordGuard } from './flag-store.ts';

/** Where a script's arguments have its deadline. */
export const DEADLINE_AT = 5;

/** The record on which a write depends, as the scripts take it. */
export function guarded({ dependsOn }: { readonly dependsOn?: RecordGuard | undefined }): string[] {
  return dependsOn ? [dependsOn.kind, dependsOn.id, dependsOn.text, dependsOn.settles ? '1' : '0'] : ['', '', '', '0'];
}

/** What is known of the store, as the scripts that read it all take it. */
export function asArguments({ revision, epoch, auditHead = NO_AUDIT }: KnownStore): string[] {
  return [String(revision), epoch, String(auditHead.revision), auditHead.hash];
}
