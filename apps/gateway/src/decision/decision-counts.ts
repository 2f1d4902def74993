import { create } from '@bufbuild/protobuf';
import { type DecisionCounts, DecisionCountsSchema } from '@mlx-serving/contracts';

/** Most flag names that are counted between two hand-overs; what lies beyond is not counted. */
const MAX_NAMES = 10_000;

/** How often each flag was on and off since the counts were last taken. */
export class DecisionCounter {
  #counts = new Map<string, { enabled: number; disabled: number }>();

  /** Counts one decision over all flags, names and enabled ones in the same order. */
  addAll(names: Iterable<string>, enabled: readonly string[]): void {
    // Both are sorted by name.
    let next = 0;
    for (const name of names) {
      const isOn = enabled[next] === name;
      if (isOn) next++;
      this.add(name, isOn);
    }
  }

  add(name: string, enabled: boolean): void {
    let count = this.#counts.get(name);
    if (!count) {
      if (this.#counts.size >= MAX_NAMES) return;
      count = { enabled: 0, disabled: 0 };
      this.#counts.set(name, count);
    }
    count[enabled ? 'enabled' : 'disabled']++;
  }

  /** Hands the counts to `send`, and keeps them when it answers that they were not taken. */
  flush(send: (counts: DecisionCounts) => boolean): void {
    if (this.#counts.size === 0) return;
    const counts = [...this.#counts].map(([flag, { enabled, disabled }]) => ({ flag, enabled: BigInt(enabled), disabled: BigInt(disabled) }));
    if (send(create(DecisionCountsSchema, { counts }))) this.#counts = new Map();
  }
}
