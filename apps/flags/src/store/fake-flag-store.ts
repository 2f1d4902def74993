import { errors } from '../errors.ts';
import {
  type DecisionTotals,
  EMERGENCY_NAME,
  type EmergencyRecord,
  type EmergencyWrite,
  type FlagChange,
  type FlagStore,
  type KillRecord,
  NO_EMERGENCY,
  type PartialState,
  type SetFlagWrite,
  type StoredFlag,
  type StoredState,
  type WriteResult,
} from './flag-store.ts';

/** A store in memory that behaves as Redis does, for tests. `reachable` plays an outage. */
export class FakeFlagStore implements FlagStore {
  reachable = true;
  /** What another tool may change behind the service's back. */
  readonly texts = new Map<string, string>();
  readonly #adopted = new Map<string, { text: string; revision: bigint }>();
  readonly #kills = new Map<string, KillRecord>();
  readonly #files = new Map<string, string>();
  readonly #decisions = new Map<string, DecisionTotals>();
  #emergency: EmergencyRecord = NO_EMERGENCY;
  #revision = 0n;
  #onChange: (change: FlagChange) => void = () => undefined;

  start({ onChange, onConnected }: { onChange: (change: FlagChange) => void; onConnected: () => void }): void {
    this.#onChange = onChange;
    queueMicrotask(onConnected);
  }

  async stop(): Promise<void> {
    this.#onChange = () => undefined;
  }

  async load(known: bigint): Promise<StoredState> {
    this.#assertReachable();
    const reset = known > this.#revision;
    if (reset) this.#revision = known;
    const names = new Set([...this.texts.keys(), ...this.#adopted.keys()]);
    const changed = [...names].filter((name) => this.texts.get(name) !== this.#adopted.get(name)?.text);
    if (changed.length > 0 || reset) this.#raise(changed, reset);
    return { ...this.#stateOf([...this.texts.keys()]), reset };
  }

  async read(names: readonly string[]): Promise<PartialState> {
    this.#assertReachable();
    return this.#stateOf(names);
  }

  async revision(): Promise<bigint> {
    this.#assertReachable();
    return this.#revision;
  }

  async setFlag({ name, text, base, ifRevision, fileDigest }: SetFlagWrite): Promise<WriteResult> {
    this.#assertReachable();
    if (fileDigest !== undefined && this.#files.get(name) === fileDigest) return this.#written('unchanged', name);
    if (this.texts.get(name) !== base) return { outcome: 'stale' };
    const revision = this.#adopted.get(name)?.revision ?? 0n;
    if (ifRevision !== undefined && ifRevision !== revision) return { outcome: 'revision-mismatch', revision };
    if (fileDigest !== undefined) this.#files.set(name, fileDigest);
    if (base === text) return this.#written('unchanged', name);
    this.texts.set(name, text);
    this.#raise([name], false);
    return this.#written('written', name);
  }

  async killFlag(name: string, kill: KillRecord): Promise<WriteResult> {
    this.#assertReachable();
    if (!this.texts.has(name)) return { outcome: 'not-found' };
    if (this.#kills.has(name)) return this.#written('unchanged', name);
    this.#kills.set(name, { ...kill });
    this.#raise([name], false);
    return this.#written('written', name);
  }

  async reviveFlag(name: string): Promise<WriteResult> {
    this.#assertReachable();
    if (!this.#kills.delete(name)) return this.texts.has(name) ? this.#written('unchanged', name) : { outcome: 'not-found' };
    this.#raise([name], false);
    return this.#written('written', name);
  }

  async setEmergency({ killSwitch, rollbackToBaseline, actor, reason, atMs, fileDigest }: EmergencyWrite): Promise<WriteResult> {
    this.#assertReachable();
    const answer = (outcome: 'written' | 'unchanged'): WriteResult => ({ outcome, names: [], state: this.#stateOf([]) });
    if (fileDigest !== undefined && this.#files.get(EMERGENCY_NAME) === fileDigest) return answer('unchanged');
    if (fileDigest !== undefined) this.#files.set(EMERGENCY_NAME, fileDigest);
    const next = { killSwitch: killSwitch ?? this.#emergency.killSwitch, rollbackToBaseline: rollbackToBaseline ?? this.#emergency.rollbackToBaseline };
    if (next.killSwitch === this.#emergency.killSwitch && next.rollbackToBaseline === this.#emergency.rollbackToBaseline) return answer('unchanged');
    this.#emergency = { ...next, actor, reason, atMs };
    this.#raise([], true);
    return answer('written');
  }

  async fileDigests(): Promise<ReadonlyMap<string, string>> {
    this.#assertReachable();
    return new Map(this.#files);
  }

  async addDecisions(counts: ReadonlyMap<string, DecisionTotals>): Promise<void> {
    this.#assertReachable();
    for (const [name, { enabled, disabled }] of counts) {
      const before = this.#decisions.get(name) ?? { enabled: 0n, disabled: 0n };
      this.#decisions.set(name, { enabled: before.enabled + enabled, disabled: before.disabled + disabled });
    }
  }

  async decisions(name: string): Promise<DecisionTotals> {
    this.#assertReachable();
    return this.#decisions.get(name) ?? { enabled: 0n, disabled: 0n };
  }

  #raise(names: readonly string[], emergency: boolean): void {
    this.#revision++;
    for (const name of names) {
      const text = this.texts.get(name);
      if (text === undefined) this.#adopted.delete(name);
      else this.#adopted.set(name, { text, revision: this.#revision });
    }
    const change = { revision: this.#revision, names, emergency };
    queueMicrotask(() => this.#onChange(change));
  }

  #written(outcome: 'written' | 'unchanged', name: string): WriteResult {
    return { outcome, names: [name], state: this.#stateOf([name]) };
  }

  #stateOf(names: readonly string[]): PartialState {
    const flags = new Map<string, StoredFlag>();
    for (const name of names) {
      const text = this.texts.get(name);
      if (text !== undefined) flags.set(name, { text, revision: this.#adopted.get(name)?.revision ?? 0n, kill: this.#kills.get(name) });
    }
    return { revision: this.#revision, flags, emergency: this.#emergency };
  }

  #assertReachable(): void {
    if (!this.reachable) throw errors.STORE_UNREACHABLE();
  }
}
