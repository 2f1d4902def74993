/** Who changed what, when and why. */
export interface KillRecord {
  readonly actor: string;
  readonly reason: string;
  /** Unix time in milliseconds. */
  readonly atMs: number;
}

export interface EmergencyRecord extends KillRecord {
  readonly killSwitch: boolean;
  readonly rollbackToBaseline: boolean;
}

/** Who writes, why, when, and how the audit trail calls it. */
export interface Authorship extends KillRecord {
  /** Default: the name of the write, such as `set` or `kill`. */
  readonly action?: string;
}

/** One flag as the store holds it. The text is whatever was written there, by whichever tool. */
export interface StoredFlag {
  readonly text: string;
  readonly revision: bigint;
  readonly kill: KillRecord | undefined;
}

/** Kinds of what the store holds beside the flags, each by an id. */
export type RecordKind = 'segments' | 'tokens' | 'pending' | 'rollouts' | 'api-keys';
export type Records = Readonly<Record<RecordKind, ReadonlyMap<string, string>>>;

/** Where the audit trail ends: how many entries, and the hash of the last. */
export interface AuditHead {
  readonly count: number;
  readonly hash: string;
}

/** The same at a revision of the store. */
export interface AuditMark extends AuditHead {
  readonly revision: bigint;
}

/** What a caller knows of the store. */
export interface KnownStore {
  readonly revision: bigint;
  /** Names the life of a store; empty when none is known. */
  readonly epoch: string;
  /** Where the audit trail ended when it was read last, which may be a while ago. */
  readonly auditHead?: AuditMark;
}

/** Some flags, and the revision at which they were read. A name without a flag is not in the map. */
export interface PartialState {
  readonly revision: bigint;
  readonly flags: ReadonlyMap<string, StoredFlag>;
  /** Of the names that were read, also of one without a flag. */
  readonly kills: ReadonlyMap<string, KillRecord>;
  readonly emergency: EmergencyRecord;
}

export interface StoredState extends PartialState {
  /** Kills of all names, also of flags that are not there. */
  readonly kills: ReadonlyMap<string, KillRecord>;
  readonly records: Records;
  readonly epoch: string;
  readonly auditHead: AuditMark;
  /** True when the store has lost what is known here: it was emptied, or put back to an old state, be it written to since. Nothing was changed in it then. */
  readonly lost: boolean;
}

/** What one write did: the revision after it, and what it touched as it is now. */
export type WriteResult =
  | { readonly outcome: 'written' | 'unchanged'; readonly state: PartialState; readonly names: readonly string[] }
  /** The text that the write was built on is no longer there. */
  | { readonly outcome: 'stale' }
  | { readonly outcome: 'revision-mismatch'; readonly revision: bigint }
  /** The record on which the write depends holds another text now, or is gone. */
  | { readonly outcome: 'superseded' }
  | { readonly outcome: 'not-found' };

/** A record on which a write depends: compared in the same step, so that who changes the record keeps the write from being made. */
export interface RecordGuard {
  readonly kind: RecordKind;
  readonly id: string;
  /** What it must still hold. */
  readonly text: string;
  /** Whether the record is removed with the write. Default: false. */
  readonly settles?: boolean;
}

export interface SetFlagWrite extends Authorship {
  readonly name: string;
  readonly text: string;
  /** The text that is replaced; undefined for a new flag. */
  readonly base: string | undefined;
  readonly ifRevision?: bigint | undefined;
  /** Digest of the flag's own text in the configuration file. With it, a write whose digest is already recorded does nothing. */
  readonly fileDigest?: string;
  readonly dependsOn?: RecordGuard | undefined;
}

export interface DeleteFlagWrite extends Authorship {
  readonly name: string;
  readonly base: string;
  readonly ifRevision?: bigint | undefined;
  readonly dependsOn?: RecordGuard | undefined;
}

export interface EmergencyWrite extends Authorship {
  readonly killSwitch?: boolean | undefined;
  readonly rollbackToBaseline?: boolean | undefined;
  readonly fileDigest?: string;
}

export interface RecordWrite extends Authorship {
  readonly kind: RecordKind;
  readonly id: string;
  /** Undefined removes it. */
  readonly text: string | undefined;
  /** The text that is replaced: undefined when there must be none, absent when it does not matter. */
  readonly base?: { readonly text: string | undefined };
  /** What the audit trail shows; undefined for a removal. Absent: the text. */
  readonly shown?: string;
  /** No entry in the audit trail, and no revision. */
  readonly quiet?: boolean;
  readonly fileDigest?: string;
  readonly dependsOn?: RecordGuard | undefined;
}

export interface RecordResult {
  readonly outcome: 'written' | 'unchanged' | 'stale';
  readonly revision: bigint;
}

export interface SettleWrite extends Authorship {
  readonly known: KnownStore;
  readonly summary: string;
  /** What was last applied from the configuration file, in place of what the store knows of that. Empty: what the store knows holds. */
  readonly fileDigests?: ReadonlyMap<string, string>;
}

/** One entry of the audit trail as it is stored. `entry` is the text that is hashed together with nothing else. */
export interface StoredAuditEntry {
  /** `<revision>-<place within the revision>`. */
  readonly id: string;
  readonly entry: string;
  readonly hash: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** Where the audit trail begins: what went before is in an archive. */
export interface AuditBase extends AuditMark {
  /** Of the last entry before it. */
  readonly revision: bigint;
  readonly atMs: number;
  /** The flags after that entry, as `PastState` writes them; empty for a trail that is whole. */
  readonly state: string;
}

export interface AuditTrim extends Authorship {
  /** How many entries went before. */
  readonly former: number;
  readonly base: AuditBase;
  /** What the trail says of it. */
  readonly summary: string;
}

export interface FlagChange {
  readonly revision: bigint;
  readonly names: readonly string[];
  readonly emergency: boolean;
  /** Segments, tokens, pending changes or rollouts changed. */
  readonly records: boolean;
}

export interface DecisionTotals {
  readonly enabled: bigint;
  readonly disabled: bigint;
}

/** Names some counts: the same are added once, however often they are sent. */
export interface CountBatch {
  /** Of one life of whoever counts. */
  readonly source: string;
  /** Rises with each batch. */
  readonly number: number;
}

export interface StoreListeners {
  readonly onChange: (change: FlagChange) => void;
  readonly onConnected: () => void;
  /** What another flag service said to all of them. */
  readonly onPeerMessage: (text: string) => void;
}

/**
 * Where flags, kills and the emergency live. Every write is one atomic step that raises the revision by one and appends
 * to the audit trail. Every function rejects with STORE_UNREACHABLE when the store does not answer,
 * every write with STORE_LOST when it is not the store that was loaded.
 */
export interface FlagStore {
  /** Connects in the background. `onConnected` runs after each connection, `onChange` for each change that any replica makes. */
  start(listeners: StoreListeners): void;
  stop(): Promise<void>;
  /** Reads everything, and first gives a revision and an audit entry to what other tools wrote, changed or deleted. */
  load(known: KnownStore): Promise<StoredState>;
  /** Whether the store is as it is known, and no other tool has written to it since. @returns where the audit trail ends then */
  check(known: KnownStore): Promise<AuditMark | undefined>;
  read(names: readonly string[]): Promise<PartialState>;
  revision(): Promise<bigint>;
  setFlag(write: SetFlagWrite): Promise<WriteResult>;
  deleteFlag(write: DeleteFlagWrite): Promise<WriteResult>;
  /**
   * A latch: a second kill changes nothing.
   * @param always also when there is no such flag, should it come
   */
  killFlag(name: string, kill: Authorship, always?: boolean): Promise<WriteResult>;
  reviveFlag(name: string, author: Authorship): Promise<WriteResult>;
  /** Absent switches keep their values. */
  setEmergency(write: EmergencyWrite): Promise<WriteResult>;
  putRecord(write: RecordWrite): Promise<RecordResult>;
  /** Begins a new life of the store after a loss, which every replica that knows the former one follows. */
  settle(write: SettleWrite): Promise<bigint>;
  /** Lets writes through to a store that has lost data, until the next load that is well. */
  writeDespiteLoss(): void;
  raiseRevision(atLeast: bigint): Promise<void>;
  /** Entries from the oldest on, in batches. */
  auditTrail(range?: { after?: string; upToRevision?: bigint }): AsyncGenerator<StoredAuditEntry[]>;
  /** Entries before one of them, the newest first. */
  newestAudit(beforeId: string | undefined, count: number): Promise<StoredAuditEntry[]>;
  auditHead(): Promise<AuditHead>;
  auditBase(): Promise<AuditBase>;
  /** Takes entries off the beginning of the trail. @returns false when somebody else did so meanwhile */
  trimAudit(trim: AuditTrim): Promise<boolean>;
  /** When revisions came about, Unix time in milliseconds; for one that is in the archive, when it was there at the latest. One whose entry is gone is not in the map. */
  changedAt(revisions: readonly bigint[]): Promise<ReadonlyMap<bigint, number>>;
  /** Only one owner has the lease of a name at a time; the owner renews it by asking again. */
  takeLease(owner: string, ttlMs: number, name?: string): Promise<boolean>;
  /** Says something to every flag service on this store, this one included. Never rejects. */
  tellPeers(text: string): void;
  /** Digests of what was last applied from the configuration file, by flag name. */
  fileDigests(): Promise<ReadonlyMap<string, string>>;
  addDecisions(counts: ReadonlyMap<string, DecisionTotals>, batch: CountBatch): Promise<void>;
  decisions(name: string): Promise<DecisionTotals>;
}

/** Under this name the digest of the file's emergency switches is kept; no flag may have it. */
export const EMERGENCY_NAME = 'emergency';

export const NO_EMERGENCY: EmergencyRecord = Object.freeze({ killSwitch: false, rollbackToBaseline: false, actor: '', reason: '', atMs: 0 });
export const NO_AUDIT: AuditMark = Object.freeze({ count: 0, hash: '', revision: 0n });
