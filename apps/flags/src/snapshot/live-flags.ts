import type { FlagConfig } from '@mlx-serving/policy';
import { type EmergencyRecord, type KillRecord, NO_EMERGENCY, type PartialState, type StoredFlag, type StoredState } from '../store/flag-store.ts';
import { decodeStoredFlag } from './decode-definition.ts';

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
}

export interface LiveFlagsOptions {
  readonly onChange: (change: LiveChange) => void;
  /** Called once for each text that cannot be read. */
  readonly onUndecodable: (name: string, problem: string) => void;
  readonly now?: () => number;
}

/** The flags in force in this process: every read is answered from here, never from the store. */
export class LiveFlags {
  readonly #options: LiveFlagsOptions;
  readonly #now: () => number;
  readonly #flags = new Map<string, LiveFlag>();
  /** The text of each flag in the store, also of one that cannot be read. */
  readonly #storedTexts = new Map<string, string>();
  readonly #undecodable = new Map<string, string>();
  #revision = 0n;
  #emergency = NO_EMERGENCY;
  #takenAtMs: number | undefined;

  constructor(options: LiveFlagsOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  get revision(): bigint {
    return this.#revision;
  }

  get emergency(): EmergencyRecord {
    return this.#emergency;
  }

  /** Unix time in milliseconds of the last read of the store; undefined before the first. */
  get takenAtMs(): number | undefined {
    return this.#takenAtMs;
  }

  /** Sorted by name. */
  get flags(): LiveFlag[] {
    return [...this.#flags.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Problems of entries that cannot be read, by name. */
  get undecodable(): ReadonlyMap<string, string> {
    return this.#undecodable;
  }

  get(name: string): LiveFlag | undefined {
    return this.#flags.get(name);
  }

  storedText(name: string): string | undefined {
    return this.#storedTexts.get(name);
  }

  /** Takes over everything. A state that is older than what is in force is dropped. */
  replace(state: StoredState): void {
    const first = this.#takenAtMs === undefined;
    this.touch();
    if (!first && state.revision <= this.#revision) return;
    const gone = [...this.#storedTexts.keys()].filter((name) => !state.flags.has(name));
    this.#commit(first ? undefined : this.#revision, state, [...state.flags.keys(), ...gone], state.emergency);
  }

  /**
   * Takes over some flags.
   * @returns false when revisions between are missing here, and everything must be loaded
   */
  apply(state: PartialState, names: readonly string[], emergencyToo: boolean): boolean {
    if (this.#takenAtMs === undefined) return false;
    if (state.revision <= this.#revision) return true;
    if (state.revision !== this.#revision + 1n) return false;
    this.touch();
    this.#commit(this.#revision, state, names, emergencyToo ? state.emergency : undefined);
    return true;
  }

  /** Notes that the store was read and that nothing had changed. */
  touch(): void {
    this.#takenAtMs = this.#now();
  }

  #commit(baseRevision: bigint | undefined, state: PartialState, names: readonly string[], emergency: EmergencyRecord | undefined): void {
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
    this.#revision = state.revision;
    const emergencyChanged = emergency !== undefined && JSON.stringify(emergency) !== JSON.stringify(this.#emergency);
    if (emergencyChanged) this.#emergency = emergency;
    this.#options.onChange({ baseRevision, revision: state.revision, changed, removed, emergency: emergencyChanged ? emergency : undefined });
  }

  #forget(name: string): boolean {
    this.#storedTexts.delete(name);
    this.#undecodable.delete(name);
    return this.#flags.delete(name);
  }

  /** @returns the flag when it is not as it was */
  #take(name: string, stored: StoredFlag): LiveFlag | undefined {
    const former = this.#flags.get(name);
    const definition = this.#definition(name, stored.text, former);
    if (!definition) return undefined;
    const flag: LiveFlag = { name, ...definition, revision: stored.revision, kill: stored.kill };
    if (former && former.text === flag.text && former.revision === flag.revision && JSON.stringify(former.kill) === JSON.stringify(flag.kill)) return undefined;
    this.#flags.set(name, flag);
    return flag;
  }

  /** A text that cannot be read leaves the last good one in force. */
  #definition(name: string, text: string, former: LiveFlag | undefined): { text: string; config: FlagConfig } | undefined {
    const seen = this.#storedTexts.get(name) === text;
    this.#storedTexts.set(name, text);
    if (seen) return former && { text: former.text, config: former.config };
    const decoded = decodeStoredFlag(name, text);
    if ('value' in decoded) {
      this.#undecodable.delete(name);
      return { text, config: decoded.value };
    }
    this.#undecodable.set(name, decoded.problem);
    this.#options.onUndecodable(name, decoded.problem);
    return former && { text: former.text, config: former.config };
  }
}
