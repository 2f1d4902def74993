import { bucketByFlag, bucketByKey, isInRollout } from '@mlx-serving/hashing';
import { type FlagConfig, type FlagReason, type FlagRule, parentOf } from '@mlx-serving/policy';
import type { CompiledFlags, EmergencyState, EvaluationContext, FlagAnswer } from './compiled-flags.ts';
import { dependencyLevels } from './dependency-levels.ts';
import { matchesRules } from './matches-rule.ts';

export interface FlagInput {
  readonly name: string;
  readonly config: FlagConfig;
  /** Whether the kill latch holds, besides `config.killSwitch`. */
  readonly killed: boolean;
}

export interface CompileInput {
  readonly flags: Iterable<FlagInput>;
  readonly emergency: EmergencyState;
}

interface CompiledFlag {
  /** Set when the answer is the same for every context. */
  readonly fixed: FlagAnswer | undefined;
  readonly parent: number | undefined;
  readonly required: readonly number[];
  readonly blacklist: ReadonlySet<string>;
  readonly whitelist: ReadonlySet<string>;
  readonly rules: readonly FlagRule[];
  readonly percentage: number;
  readonly bucketOf: (key: string) => number;
}

const on = (reason: FlagReason): FlagAnswer => Object.freeze({ enabled: true, reason });
const off = (reason: FlagReason): FlagAnswer => Object.freeze({ enabled: false, reason });
const NOT_FOUND = off('FLAG_NOT_FOUND');
const PARENT_OFF = off('PARENT_OFF');
const PREREQUISITE_OFF = off('PREREQUISITE_OFF');
const BLACKLISTED = off('BLACKLISTED');
const WHITELISTED = on('WHITELISTED');
const RULE_MISMATCH = off('RULE_MISMATCH');
const NO_KEY = off('NO_KEY');
const ROLLED_OUT = on('ROLLED_OUT');
const NOT_ROLLED_OUT = off('NOT_ROLLED_OUT');

/** Compiles the flags of a snapshot; the order of evaluation is that of SPEC F4. */
export function compileFlags(input: CompileInput): CompiledFlags {
  const inputs = new Map([...input.flags].map((flag) => [flag.name, flag]));
  const names = [...inputs.keys()].sort();
  const indexes = new Map(names.map((name, index) => [name, index]));
  const levels = dependencyLevels(inputs);
  const flags = names.map((name) => compileFlag(inputs.get(name)!, inputs, indexes, { emergency: input.emergency, resolvable: levels.has(name) }));
  return {
    names,
    emergency: { ...input.emergency },
    evaluate(name, context) {
      const index = indexes.get(name);
      return index === undefined ? NOT_FOUND : new Decision(flags, context).answer(index);
    },
    evaluateAll(context) {
      const decision = new Decision(flags, context);
      const enabled: string[] = [];
      const reasons = Object.create(null) as Record<string, FlagReason>;
      names.forEach((name, index) => {
        const answer = decision.answer(index);
        if (answer.enabled) enabled.push(name);
        reasons[name] = answer.reason;
      });
      return { enabled, reasons };
    },
  };
}

/** One context's answers, each made once. */
class Decision {
  readonly #flags: readonly CompiledFlag[];
  readonly #key: string | undefined;
  readonly #attributes: unknown;
  readonly #answers = new Map<number, FlagAnswer>();

  constructor(flags: readonly CompiledFlag[], context: EvaluationContext) {
    this.#flags = flags;
    const { key, attributes } = readContext(context);
    this.#key = typeof key === 'string' && key !== '' ? key : undefined;
    this.#attributes = attributes;
  }

  answer(index: number): FlagAnswer {
    const flag = this.#flags[index]!;
    if (flag.fixed) return flag.fixed;
    let answer = this.#answers.get(index);
    if (!answer) {
      answer = this.#prerequisite(flag) ?? this.#target(flag) ?? this.#rollout(flag);
      this.#answers.set(index, answer);
    }
    return answer;
  }

  #prerequisite(flag: CompiledFlag): FlagAnswer | undefined {
    if (flag.parent !== undefined && !this.answer(flag.parent).enabled) return PARENT_OFF;
    return flag.required.every((required) => this.answer(required).enabled) ? undefined : PREREQUISITE_OFF;
  }

  #target(flag: CompiledFlag): FlagAnswer | undefined {
    if (this.#key !== undefined && flag.blacklist.has(this.#key)) return BLACKLISTED;
    if (this.#key !== undefined && flag.whitelist.has(this.#key)) return WHITELISTED;
    return matchesRules(flag.rules, this.#attributes) ? undefined : RULE_MISMATCH;
  }

  #rollout(flag: CompiledFlag): FlagAnswer {
    if (flag.percentage >= 100) return ROLLED_OUT;
    if (flag.percentage <= 0) return NOT_ROLLED_OUT;
    if (this.#key === undefined) return NO_KEY;
    return isInRollout(flag.bucketOf(this.#key), flag.percentage) ? ROLLED_OUT : NOT_ROLLED_OUT;
  }
}

function readContext(context: EvaluationContext): { key: unknown; attributes: unknown } {
  try {
    return { key: context.key, attributes: context.attributes };
  } catch {
    return { key: undefined, attributes: undefined };
  }
}

function compileFlag(
  { name, config, killed }: FlagInput,
  inputs: ReadonlyMap<string, FlagInput>,
  indexes: ReadonlyMap<string, number>,
  state: { emergency: EmergencyState; resolvable: boolean },
): CompiledFlag {
  const parent = parentOf(name);
  return {
    fixed: fixedAnswer(),
    parent: parent === undefined ? undefined : indexes.get(parent),
    required: config.requires.flatMap((required) => indexes.get(required) ?? []),
    blacklist: new Set(config.blacklist),
    whitelist: new Set(config.whitelist),
    rules: config.rules,
    percentage: config.rolloutPercentage,
    bucketOf: bucketOf(name, config, inputs),
  };

  function fixedAnswer(): FlagAnswer | undefined {
    if (state.emergency.killSwitch) return off('EMERGENCY');
    if (killed || config.killSwitch) return off('KILLED');
    if (!config.enabled) return off('DISABLED');
    if (parent !== undefined && !indexes.has(parent)) return PARENT_OFF;
    return state.resolvable && config.requires.every((required) => indexes.has(required)) ? undefined : PREREQUISITE_OFF;
  }
}

/** A sub-feature shares its parent's bucket unless it has a seed of its own (SPEC F1). */
function bucketOf(name: string, config: FlagConfig, inputs: ReadonlyMap<string, FlagInput>): (key: string) => number {
  if (config.strategy === 'random') return () => Math.floor(Math.random() * 100_000);
  const parent = config.hashSeed === undefined ? inputs.get(parentOf(name) ?? '') : undefined;
  const seed = config.hashSeed ?? parent?.config.hashSeed;
  if (seed !== undefined) return (key) => bucketByKey(key, seed);
  return (key) => bucketByFlag(parent?.name ?? name, key);
}
