import { AnswerMemory } from './answer-memory.ts';
import type { AllAnswers, AnswerObserver, CompiledFlags, CompileInput, EmergencyState, EvaluationContext, Explanation, FlagAnswer, FlagCount, FlagInput, FlagSetChange } from './compiled-flags.ts';
import { compileSegment } from './compile-segment.ts';
import { answerOf, answerOnce, type Question, type SharedState } from './evaluate-flag.ts';
import { Trace } from './explanation.ts';
import { ANSWERS } from './flag-answer.ts';
import { clearSlot, createSlot, fillSlot, type FlagSlot } from './flag-slot.ts';

const NO_EMERGENCY: EmergencyState = Object.freeze({ killSwitch: false, rollbackToBaseline: false });

/**
 * Flags that are asked and changed in place: a change compiles only what it changes, and takes hold between two questions.
 * Questions never throw, never wait and allocate next to nothing.
 */
export class FlagSet implements CompiledFlags {
  readonly #slots = new Map<string, FlagSlot>();
  readonly #state: SharedState = { emergency: NO_EMERGENCY, segments: new Map(), structure: 0 };
  readonly #memory = new AnswerMemory();
  #names: string[] = [];
  #questions = 0;

  get names(): readonly string[] {
    return this.#names;
  }

  get emergency(): EmergencyState {
    return this.#state.emergency;
  }

  /** Whether a flag is on. Counted. */
  isEnabled(name: string, context: EvaluationContext): boolean {
    return this.decide(name, context).enabled;
  }

  /** Like `evaluate`, and counted. */
  decide(name: string, context: EvaluationContext): FlagAnswer {
    const slot = this.#slots.get(name);
    if (slot?.program === undefined) return ANSWERS.notFound;
    const answer = answerOf(slot, this.#state, this.#question(context));
    if (answer.enabled) slot.enabledCount++;
    else slot.disabledCount++;
    return answer;
  }

  evaluate(name: string, context: EvaluationContext): FlagAnswer {
    const slot = this.#slots.get(name);
    return slot === undefined ? ANSWERS.notFound : answerOf(slot, this.#state, this.#question(context));
  }

  evaluateAll(context: EvaluationContext, observe?: AnswerObserver): AllAnswers {
    const answers: FlagAnswer[] = [];
    this.answerAll(context, (name, answer) => {
      answers.push(answer);
      observe?.(name, answer);
    });
    return this.#memory.of(this.#names, answers);
  }

  /** Hands the answer of every flag over, in the order of their names. */
  answerAll(context: EvaluationContext, take: AnswerObserver): void {
    const question = this.#question(context);
    for (const name of this.#names) take(name, answerOnce(this.#slots.get(name)!, this.#state, question));
  }

  explain(name: string, context: EvaluationContext): Explanation {
    const slot = this.#slots.get(name);
    const trace = new Trace();
    const answer = slot === undefined ? ANSWERS.notFound : answerOf(slot, this.#state, this.#question(context), trace);
    return { flag: name, ...answer, steps: trace.steps };
  }

  /** Whether any variant of a flag has a payload: its value is then that payload, and not whether it is on. */
  hasPayload(name: string): boolean {
    return this.#slots.get(name)?.program?.variants?.hasPayload ?? false;
  }

  /** Takes over what changed. Other flags are left as they are. */
  apply({ changed = [], removed = [], changedSegments = [], removedSegments = [], emergency }: FlagSetChange): void {
    this.#memory.forget();
    for (const name of removed) this.#remove(name);
    for (const flag of changed) this.#put(flag);
    for (const name of removedSegments) this.#state.segments.delete(name);
    for (const { name, definition } of changedSegments) this.#state.segments.set(name, compileSegment(definition));
    if (emergency) this.#state.emergency = { killSwitch: emergency.killSwitch, rollbackToBaseline: emergency.rollbackToBaseline };
  }

  /** The counts of `decide` and `isEnabled` since they were last taken. */
  takeCounts(): FlagCount[] {
    const counts: FlagCount[] = [];
    for (const slot of this.#slots.values()) {
      if (slot.enabledCount === 0 && slot.disabledCount === 0) continue;
      counts.push({ flag: slot.name, enabled: slot.enabledCount, disabled: slot.disabledCount });
      slot.enabledCount = 0;
      slot.disabledCount = 0;
    }
    return counts;
  }

  #question(context: EvaluationContext): Question {
    const number = ++this.#questions;
    try {
      const { key, attributes } = context;
      return { key: typeof key === 'string' && key !== '' ? key : undefined, attributes, number };
    } catch {
      // A getter or a proxy of the caller threw.
      return { key: undefined, attributes: undefined, number };
    }
  }

  #put(flag: FlagInput): void {
    const slot = this.#slotOf(flag.name);
    if (slot.program === undefined) this.#names.splice(placeOf(this.#names, flag.name), 0, flag.name);
    if (fillSlot(slot, flag, (name) => this.#slotOf(name))) this.#state.structure++;
  }

  #remove(name: string): void {
    const slot = this.#slots.get(name);
    if (slot?.program === undefined) return;
    this.#names.splice(placeOf(this.#names, name), 1);
    clearSlot(slot);
    this.#state.structure++;
    this.#dropEmpty();
  }

  /** Slots of flags that are gone go too, unless another flag still names them or their counts were not taken. */
  #dropEmpty(): void {
    const needed = new Set([...this.#slots.values()].flatMap(({ parent, required }) => (parent ? [parent, ...required] : required)));
    for (const slot of this.#slots.values()) {
      if (slot.program === undefined && !needed.has(slot) && slot.enabledCount + slot.disabledCount === 0) this.#slots.delete(slot.name);
    }
  }

  #slotOf(name: string): FlagSlot {
    let slot = this.#slots.get(name);
    if (!slot) {
      slot = createSlot(name);
      this.#slots.set(name, slot);
    }
    return slot;
  }
}

/** Compiles the flags of a snapshot; the order of evaluation is that of SPEC F4. */
export function compileFlags({ flags, segments, emergency }: CompileInput): FlagSet {
  const set = new FlagSet();
  // In the order of their names each new one goes to the end.
  const sorted = [...flags].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  set.apply({ changed: sorted, changedSegments: segments, emergency });
  return set;
}

/** Where a name is among sorted names, or would be. */
function placeOf(names: readonly string[], name: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (names[middle]! < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
