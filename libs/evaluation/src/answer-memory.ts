import type { FlagReason } from '@mlx-serving/policy';
import type { AllAnswers, FlagAnswer } from './compiled-flags.ts';

/** So many are kept; beyond that all are forgotten. */
const MOST_KEPT = 2_048;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

interface Kept {
  readonly given: readonly FlagAnswer[];
  readonly all: AllAnswers;
}

/**
 * Gives the same object for the same answers to the same flags, so that whoever writes them down has to do it once:
 * answers are few and requests are many. Bounded; forgotten with every change of the flags.
 */
export class AnswerMemory {
  readonly #kept = new Map<number, Kept>();
  readonly #numbers = new Map<FlagAnswer, number>();

  forget(): void {
    this.#kept.clear();
    this.#numbers.clear();
  }

  /** @param given the answers of the flags of these names, in their order */
  of(names: readonly string[], given: readonly FlagAnswer[]): AllAnswers {
    const hash = this.#hashOf(given);
    const kept = this.#kept.get(hash);
    if (kept !== undefined && isSame(kept.given, given)) return kept.all;
    if (this.#kept.size >= MOST_KEPT) this.forget();
    const all = written(names, given);
    this.#kept.set(hash, { given, all });
    return all;
  }

  #hashOf(given: readonly FlagAnswer[]): number {
    let hash = FNV_OFFSET;
    for (const answer of given) {
      let number = this.#numbers.get(answer);
      if (number === undefined) this.#numbers.set(answer, (number = this.#numbers.size));
      hash = Math.imul(hash ^ number, FNV_PRIME);
    }
    return hash;
  }
}

function isSame(kept: readonly FlagAnswer[], given: readonly FlagAnswer[]): boolean {
  for (let at = 0; at < given.length; at++) if (kept[at] !== given[at]) return false;
  return kept.length === given.length;
}

function written(names: readonly string[], given: readonly FlagAnswer[]): AllAnswers {
  const reasons = Object.create(null) as Record<string, FlagReason>;
  names.forEach((name, at) => (reasons[name] = given[at]!.reason));
  return Object.freeze({ enabled: Object.freeze(names.filter((_, at) => given[at]!.enabled)), reasons: Object.freeze(reasons) });
}
