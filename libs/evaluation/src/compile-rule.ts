import { compareVersions, compilePattern, type FlagRule, readInstant, readVersion, type RuleOperator } from '@mlx-serving/policy';

type Test = (value: unknown) => boolean;
type ValueOf<Operator extends RuleOperator> = Extract<FlagRule, { operator: Operator }>['value'];

/** A rule that is ready to be asked. */
export interface CompiledRule {
  readonly rule: FlagRule;
  /** Never true for a wrongly typed value. May throw what the value throws when it is read. */
  readonly test: Test;
}

const NEVER: Test = () => false;

/** How each operator becomes a test. The value of the rule is read once, here. */
const TESTS: { readonly [Operator in RuleOperator]: (expected: ValueOf<Operator>) => Test } = {
  equals: (expected) => (value) => value === expected,
  notEquals: (expected) => (value) => typeof value === typeof expected && value === value && value !== expected,
  in: (expected) => within(new Set<unknown>(expected)),
  notIn: (expected) => outside(new Set<unknown>(expected)),
  contains: (expected) => (value) => (typeof value === 'string' ? typeof expected === 'string' && value.includes(expected) : Array.isArray(value) && value.includes(expected)),
  startsWith: (expected) => (value) => typeof value === 'string' && value.startsWith(expected),
  endsWith: (expected) => (value) => typeof value === 'string' && value.endsWith(expected),
  matches: (expected) => pattern(compilePattern(expected)),
  greaterThan: (expected) => (value) => typeof value === 'number' && value > expected,
  greaterThanOrEqual: (expected) => (value) => typeof value === 'number' && value >= expected,
  lessThan: (expected) => (value) => typeof value === 'number' && value < expected,
  lessThanOrEqual: (expected) => (value) => typeof value === 'number' && value <= expected,
  before: (expected) => instant(expected, (difference) => difference < 0),
  after: (expected) => instant(expected, (difference) => difference > 0),
  semverEqual: (expected) => version(expected, (order) => order === 0),
  semverGreaterThan: (expected) => version(expected, (order) => order > 0),
  semverGreaterThanOrEqual: (expected) => version(expected, (order) => order >= 0),
  semverLessThan: (expected) => version(expected, (order) => order < 0),
  semverLessThanOrEqual: (expected) => version(expected, (order) => order <= 0),
};

/** Compiles a rule. One that nobody understands, which only a tool past the schema can write, never matches. */
export function compileRule(rule: FlagRule): CompiledRule {
  try {
    const create = Object.hasOwn(TESTS, rule.operator) ? (TESTS[rule.operator] as (expected: unknown) => Test) : undefined;
    return { rule, test: create?.(rule.value) ?? NEVER };
  } catch {
    return { rule, test: NEVER };
  }
}

/** Whether an attribute matches (SPEC F5). A missing, inherited, wrongly typed or unreadable one never does. */
export function matchesRule({ rule, test }: CompiledRule, attributes: unknown): boolean {
  if (typeof attributes !== 'object' || attributes === null) return false;
  try {
    return Object.hasOwn(attributes, rule.attribute) && test((attributes as Record<string, unknown>)[rule.attribute]);
  } catch {
    // A getter or a proxy of the caller threw.
    return false;
  }
}

function within(expected: ReadonlySet<unknown>): Test {
  return (value) => isScalar(value) && expected.has(value);
}

/** A value of a type that the list does not speak of is wrongly typed. */
function outside(expected: ReadonlySet<unknown>): Test {
  const types = new Set([...expected].map((member) => typeof member));
  return (value) => isScalar(value) && types.has(typeof value) && !expected.has(value);
}

function isScalar(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && !Number.isNaN(value));
}

function pattern(finds: (text: string) => boolean): Test {
  return (value) => typeof value === 'string' && finds(value);
}

function instant(expected: string | number, holds: (difference: number) => boolean): Test {
  const bound = readInstant(expected);
  if (bound === undefined) return NEVER;
  return (value) => {
    const asked = readInstant(value);
    return asked !== undefined && holds(asked - bound);
  };
}

function version(expected: string, holds: (order: number) => boolean): Test {
  const bound = readVersion(expected);
  if (bound === undefined) return NEVER;
  return (value) => {
    const asked = readVersion(value);
    return asked !== undefined && holds(compareVersions(asked, bound));
  };
}
