import { z } from 'zod';

/** How a rule compares an attribute with its value (SPEC F5). */
export const ruleOperator = z.enum(['equals', 'contains', 'greaterThan']);

/** One condition on an attribute. All rules of a flag must match; a missing or wrongly typed attribute never does. */
export const flagRule = z.strictObject({
  attribute: z.string().min(1),
  operator: ruleOperator,
  value: z.union([z.string(), z.number(), z.boolean()]),
});

export type FlagRule = z.infer<typeof flagRule>;
