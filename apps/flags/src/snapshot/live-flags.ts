import type { FlagConfig } from '@mlx-serving/policy';
import { type AuditMark, type EmergencyRecord, type KillRecord, type KnownStore, NO_AUDIT, NO_EMERGENCY, type PartialState, type Records, type StoredFlag, type StoredState } from '../store/flag-store.ts';
import { decodeStoredFlag, MAX_DEFINITION_BYTES, MAX_FLAGS } from './decode-definition.ts';
import { type LiveSegment, LiveSegments } from './live-segments.ts';
import { RevisionLog } from './revision-log.ts';

/** One flag in force: the last definition that could be read, and its kill. */
export interface LiveFlag {
  readonly name: string;
  readonly text: string;
  readonly config: FlagConfig;
  readonly revision: bigint;
  readonly kill: KillRecord | undefined;
}

/** What changed between two revisions. Without a base everything is new. */
export interface LiveChange {
  readonly baseRevision: bigint | undefined;
  readonly revision: bigint;
  readonly changed: readonly LiveFlag[];
  readonly removed: readonly string[];
  readonly emergency: EmergencyRecord | undefined;
  readonly changedSegments: readonly LiveSegment[];
  readonly removedSegments: readonly string[];
}

export interface LiveFlagsOptions {
  readonly onChange: (change: LiveChange) => void;
  /** Called once for each text that cannot be read. */
  readonly onUndecodable: (name: string, problem: string) => void;
  readonly now?: () => number;
}

const UNREADABLE_SEGMENT = 'It is no definition of a segment.';
const NO_RECORDS: Records = { segments: new Map(), tokens: new Map(), pending: new Map(), rollouts: new Map(), 'api-keys': new Map() };

/**
 * The flags in force in this process: every read is answered from here, never from the store.
 * A kill that the store does not have yet is latched on top of it, so the revision that is sent to the gateways may be
 * ahead of the store's until the kill is written.
 */
export class LiveFlags {
  /** Digests of what was last applied from the configuration file, by name: after a loss of the store they are known here alone. */
  fileDigests: ReadonlyMap<string, string> = new Map();
  readonly #options: LiveFlagsOptions;
  readonly #now: () => number;
  readonly #flags = new Map<string, LiveFlag>();
  readonly #segments: LiveSegments;
  /** The text of each flag in the store, also of one that cannot be read. */
  readonly #storedTexts = new Map<string, string>();
  readonly #undecodable = new Map<string, string>();
  readonly #kills = new Map<string, KillRecord>();
  readonly #latched = new Map<string, KillRecord>();
  readonly #revisions = new RevisionLog();
  #emergency = NO_EMERGENCY;
  #latchedEmergency: EmergencyRecord | undefined;
  #revision = 0n;
  #storeRevision = 0n;
  #epoch = '';
  #auditHead = NO_AUDIT;
  #records = NO_RECORDS;
  #takenAtMs: number | undefined;
  /** Of the definitions in force. */
  #bytes = 0;

  constructor(options: LiveFlagsOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#segments = new LiveSegments((name) => options.onUndecodable(`segment:${name}`, UNREADABLE_SEGMENT));
  }

  /** The revision that is sent to gateways. */
  get revision(): bigint {
    return this.#revision;
  }

  /** The revision of the store that is in force here. */
  get storeRevision(): bigint {
    return this.#storeRevision;
  }

  /** Names the life of the store that this comes from; empty before the first read. */
  get epoch(): string {
    return this.#epoch;
  }

  get auditHead(): AuditMark {
    return this.#auditHead;
  }

  /** What the store must still be at, or beyond. */
  get known(): KnownStore {
    return { revision: this.#storeRevision, epoch: this.#epoch, auditHead: this.#auditHead };
  }

  get records(): Records {
    return this.#records;
  }

  get segments(): readonly LiveSegment[] {
    return this.#segments.all;
  }

  get emergency(): EmergencyRecord {
    const latched = this.#latchedEmergency;
    if (!latched) return this.#emergency;
    return { ...latched, killSwitch: latched.killSwitch || this.#emergency.killSwitch, rollbackToBaseline: latched.rollbackToBaseline || this.#emergency.rollbackToBaseline };
  }

  /** Unix time in milliseconds of the last read of the store; undefined before the first. */
  get takenAtMs(): number | undefined {
    return this.#takenAtMs;
  }

  /** Sorted by name. */
  get flags(): LiveFlag[] {
    return [...this.#flags.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Every kill that is known, also of flags that are not there. */
  get kills(): ReadonlyMap<string, KillRecord> {
    return new Map([...this.#kills, ...this.#latched]);
  }

  /** Problems of entries that cannot be read, by name, that of a segment behind `segment:`. */
  get undecodable(): ReadonlyMap<string, string> {
    return new Map([...this.#undecodable, ...this.#segments.unreadable.map((name): [string, string] => [`segment:${name}`, UNREADABLE_SEGMENT])]);
  }

  get(name: string): LiveFlag | undefined {
    return this.#flags.get(name);
  }

  storedText(name: string): string | undefined {
    return this.#storedTexts.get(name);
  }

  /** What the store is at least at when a gateway has acknowledged a revision. */
  storeRevisionOf(revision: bigint): bigint {
    return this.#revisions.storeRevisionOf(revision);
  }

  /** Takes over everything. A state that is older than what is in force is dropped. */
  replace(state: StoredState, takenAtMs = this.#now()): void {
    const first = this.#takenAtMs === undefined;
    this.#takenAtMs = takenAtMs;
    if (!first && state.epoch === this.#epoch && state.revision < this.#storeRevision) return;
    this.#records = state.records;
    this.#auditHead = state.auditHead;
    if (!first && state.epoch === this.#epoch && state.revision === this.#storeRevision) return;
    this.#epoch = state.epoch;
    this.#kills.clear();
    for (const [name, kill] of state.kills) this.#kills.set(name, kill);
    const gone = [...this.#storedTexts.keys()].filter((name) => !state.flags.has(name));
    const segments = this.#segments.replace(state.records.segments);
    this.#commit(first ? undefined : this.#revision, state, [...state.flags.keys(), ...gone], state.emergency, segments);
  }

  /**
   * Takes over some flags.
   * @returns false when revisions between are missing here, and everything must be loaded
   */
  apply(state: PartialState, names: readonly string[], emergencyToo: boolean): boolean {
    if (this.#takenAtMs === undefined) return false;
    if (state.revision <= this.#storeRevision) return true;
    if (state.revision !== this.#storeRevision + 1n) return false;
    this.touch();
    for (const name of names) {
      const kill = state.kills.get(name);
      if (kill) this.#kills.set(name, kill);
      else this.#kills.delete(name);
    }
    this.#commit(this.#revision, state, names, emergencyToo ? state.emergency : undefined, { changed: [], removed: [] });
    return true;
  }

  /** Kills a flag here and on every linked gateway, whatever the store says, until it is released. */
  latch(name: string, kill: KillRecord): void {
    this.#latched.set(name, kill);
    const flag = this.#flags.get(name);
    if (!flag || flag.kill) return;
    const killed = { ...flag, kill };
    this.#flags.set(name, killed);
    this.#announceLatch([killed], undefined);
  }

  latchEmergency(record: EmergencyRecord): void {
    const former = this.#latchedEmergency;
    this.#latchedEmergency = {
      ...record,
      killSwitch: record.killSwitch || (former?.killSwitch ?? false),
      rollbackToBaseline: record.rollbackToBaseline || (former?.rollbackToBaseline ?? false),
    };
    this.#announceLatch([], this.emergency);
  }

  /** The store has had these kills, and its state was taken over. Whoever lifted one there since is obeyed now, which the gateways are told. */
  release(names: readonly string[], emergencyToo: boolean): void {
    const before = JSON.stringify(this.emergency);
    const revived: LiveFlag[] = [];
    for (const name of names) {
      this.#latched.delete(name);
      const flag = this.#flags.get(name);
      if (!flag?.kill || this.#kills.has(name)) continue;
      const living = { ...flag, kill: undefined };
      this.#flags.set(name, living);
      revived.push(living);
    }
    if (emergencyToo) this.#latchedEmergency = undefined;
    const emergency = JSON.stringify(this.emergency) === before ? undefined : this.emergency;
    if (revived.length > 0 || emergency) this.#announceLatch(revived, emergency);
  }

  /** Notes that the store was read and that nothing had changed. @param auditHead where the audit trail ends, if that was read */
  touch(auditHead = this.#auditHead): void {
    this.#takenAtMs = this.#now();
    this.#auditHead = auditHead;
  }

  #announceLatch(changed: LiveFlag[], emergency: EmergencyRecord | undefined): void {
    const baseRevision = this.#revision;
    this.#advance(this.#storeRevision);
    this.#options.onChange({ baseRevision, revision: this.#revision, changed, removed: [], emergency, changedSegments: [], removedSegments: [] });
  }

  #advance(storeRevision: bigint): void {
    this.#storeRevision = storeRevision;
    this.#revision = storeRevision > this.#revision ? storeRevision : this.#revision + 1n;
    this.#revisions.note(this.#revision, storeRevision);
  }

  #commit(
    baseRevision: bigint | undefined,
    state: PartialState,
    names: readonly string[],
    emergency: EmergencyRecord | undefined,
    segments: { changed: readonly LiveSegment[]; removed: readonly string[] },
  ): void {
    const changed: LiveFlag[] = [];
    const removed: string[] = [];
    for (const name of names) {
      const stored = state.flags.get(name);
      if (!stored) {
        if (this.#forget(name)) removed.push(name);
      } else {
        const flag = this.#take(name, stored);
        if (flag) changed.push(flag);
      }
    }
    const before = JSON.stringify(this.emergency);
    if (baseRevision === undefined) this.#revision = state.revision - 1n;
    this.#advance(state.revision);
    if (emergency) this.#emergency = emergency;
    const emergencyChanged = JSON.stringify(this.emergency) !== before;
    this.#options.onChange({
      ...{ baseRevision, revision: this.#revision, changed, removed, emergency: emergencyChanged ? this.emergency : undefined },
      ...{ changedSegments: segments.changed, removedSegments: segments.removed },
    });
  }

  /** Other tools know no bounds: what lies beyond them is reported, and what is in force still reaches the gateways. */
  #isFull(text: string, former: LiveFlag | undefined): boolean {
    if (!former && this.#flags.size >= MAX_FLAGS) return true;
    return this.#bytes + Buffer.byteLength(text) - Buffer.byteLength(former?.text ?? '') > MAX_DEFINITION_BYTES;
  }

  #forget(name: string): boolean {
    this.#storedTexts.delete(name);
    this.#undecodable.delete(name);
    this.#bytes -= Buffer.byteLength(this.#flags.get(name)?.text ?? '');
    return this.#flags.delete(name);
  }

  /** @returns the flag when it is not as it was */
  #take(name: string, stored: StoredFlag): LiveFlag | undefined {
    const former = this.#flags.get(name);
    const definition = this.#definition(name, stored.text, former);
    if (!definition) return undefined;
    const flag: LiveFlag = { name, ...definition, revision: stored.revision, kill: stored.kill ?? this.#latched.get(name) };
    if (former && former.text === flag.text && former.revision === flag.revision && JSON.stringify(former.kill) === JSON.stringify(flag.kill)) return undefined;
    this.#flags.set(name, flag);
    return flag;
  }

  /** A text that cannot be read leaves the last good one in force. */
  #definition(name: string, text: string, former: LiveFlag | undefined): { text: string; config: FlagConfig } | undefined {
    const seen = this.#storedTexts.get(name) === text;
    this.#storedTexts.set(name, text);
    if (seen) return former && { text: former.text, config: former.config };
    const decoded = this.#isFull(text, former) ? { problem: `There are ${MAX_FLAGS} flags already, or their definitions have ${MAX_DEFINITION_BYTES} bytes.` } : decodeStoredFlag(name, text);
    if ('value' in decoded) {
      this.#undecodable.delete(name);
      this.#bytes += Buffer.byteLength(text) - Buffer.byteLength(former?.text ?? '');
      return { text, config: decoded.value };
    }
    this.#undecodable.set(name, decoded.problem);
    this.#options.onUndecodable(name, decoded.problem);
    return former && { text: former.text, config: former.config };
  }
}
