import { z } from 'zod';
import { readInstant } from './flag-instant.ts';
import { MAX_PATTERN_LENGTH, patternProblem } from './flag-pattern.ts';
import { readVersion } from './flag-version.ts';

const attribute = z.string().min(1);
const scalar = z.union([z.string(), z.number(), z.boolean()]);
const text = z.string().min(1);
const list = z.array(scalar).min(1).max(10_000);
const instant = z.union([z.string(), z.number()]).refine((value) => readInstant(value) !== undefined, 'must be a date such as 2026-01-31 or 2026-01-31T12:00:00Z, or milliseconds');
const version = z.string().refine((value) => readVersion(value) !== undefined, 'must be a version such as 1.2.3');
const pattern = text.max(MAX_PATTERN_LENGTH).superRefine((value, context) => {
  const problem = patternProblem(value);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: `must be a pattern of RE2: ${problem}` });
});

const rule = <Operator extends string, Value extends z.ZodType>(operator: Operator, value: Value) => z.strictObject({ attribute, operator: z.literal(operator), value });

/**
 * One condition on an attribute (SPEC F5). All rules of a flag must match; a missing or wrongly typed attribute never does,
 * `notEquals` and `notIn` included.
 */
export const flagRule = z.discriminatedUnion('operator', [
  rule('equals', scalar),
  rule('notEquals', scalar),
  rule('in', list),
  rule('notIn', list),
  rule('contains', scalar),
  rule('startsWith', text),
  rule('endsWith', text),
  rule('matches', pattern),
  rule('greaterThan', z.number()),
  rule('greaterThanOrEqual', z.number()),
  rule('lessThan', z.number()),
  rule('lessThanOrEqual', z.number()),
  rule('before', instant),
  rule('after', instant),
  rule('semverEqual', version),
  rule('semverGreaterThan', version),
  rule('semverGreaterThanOrEqual', version),
  rule('semverLessThan', version),
  rule('semverLessThanOrEqual', version),
]).meta({ id: 'Rule' });

export type FlagRule = z.infer<typeof flagRule>;
export type RuleOperator = FlagRule['operator'];

/** Every operator, in the order of the schema. */
export const RULE_OPERATORS: readonly RuleOperator[] = flagRule.options.map((option) => option.shape.operator.value);
