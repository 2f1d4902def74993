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

/** One flag as the store holds it. The text is whatever was written there, by whichever tool. */
export interface StoredFlag {
  readonly text: string;
  readonly revision: bigint;
  readonly kill: KillRecord | undefined;
}

export interface StoredState {
  readonly revision: bigint;
  readonly flags: ReadonlyMap<string, StoredFlag>;
  readonly emergency: EmergencyRecord;
  /** True when the store had lost a revision that was known here: it was emptied, or put back to an old state. */
  readonly reset: boolean;
}

/** Some flags, and the revision at which they were read. A name without a flag is not in the map. */
export type PartialState = Omit<StoredState, 'reset'>;

/** What one write did: the revision after it, and what it touched as it is now. */
export type WriteResult =
  | { readonly outcome: 'written' | 'unchanged'; readonly state: PartialState; readonly names: readonly string[] }
  /** The text that the write was built on is no longer there. */
  | { readonly outcome: 'stale' }
  | { readonly outcome: 'revision-mismatch'; readonly revision: bigint }
  | { readonly outcome: 'not-found' };

export interface SetFlagWrite {
  readonly name: string;
  readonly text: string;
  /** The text that is replaced; undefined for a new flag. */
  readonly base: string | undefined;
  readonly ifRevision?: bigint | undefined;
  /** Digest of the flag's own text in the configuration file. With it, a write whose digest is already recorded does nothing. */
  readonly fileDigest?: string;
}

export interface EmergencyWrite extends KillRecord {
  readonly killSwitch?: boolean | undefined;
  readonly rollbackToBaseline?: boolean | undefined;
  readonly fileDigest?: string;
}

export interface FlagChange {
  readonly revision: bigint;
  readonly names: readonly string[];
  readonly emergency: boolean;
}

export interface DecisionTotals {
  readonly enabled: bigint;
  readonly disabled: bigint;
}

/**
 * Where flags, kills and the emergency live. Every write is one atomic step that raises the revision by one.
 * Every function rejects with STORE_UNREACHABLE when the store does not answer.
 */
export interface FlagStore {
  /** Connects in the background. `onConnected` runs after each connection, `onChange` for each change that any replica makes. */
  start(listeners: { onChange: (change: FlagChange) => void; onConnected: () => void }): void;
  stop(): Promise<void>;
  /**
   * Reads everything, and first gives a revision to what other tools wrote, changed or deleted.
   * @param known the revision known here; the store's never falls below it
   */
  load(known: bigint): Promise<StoredState>;
  read(names: readonly string[]): Promise<PartialState>;
  revision(): Promise<bigint>;
  setFlag(write: SetFlagWrite): Promise<WriteResult>;
  /** A latch: a second kill changes nothing. */
  killFlag(name: string, kill: KillRecord): Promise<WriteResult>;
  reviveFlag(name: string): Promise<WriteResult>;
  /** Absent switches keep their values. */
  setEmergency(write: EmergencyWrite): Promise<WriteResult>;
  /** Digests of what was last applied from the configuration file, by flag name. */
  fileDigests(): Promise<ReadonlyMap<string, string>>;
  addDecisions(counts: ReadonlyMap<string, DecisionTotals>): Promise<void>;
  decisions(name: string): Promise<DecisionTotals>;
}

/** Under this name the digest of the file's emergency switches is kept; no flag may have it. */
export const EMERGENCY_NAME = 'emergency';

export const NO_EMERGENCY: EmergencyRecord = Object.freeze({ killSwitch: false, rollbackToBaseline: false, actor: '', reason: '', atMs: 0 });
