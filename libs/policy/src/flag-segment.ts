import { z } from 'zod';
import { flagRule } from './flag-rule.ts';

/** A segment's name: letters, digits, _ and -. */
export const segmentName = z
  .string()
  .max(128)
  .regex(/^[A-Za-z][A-Za-z0-9_-]*$/, 'must be a name of letters, digits, _ and -');

/**
 * Named users that flags refer to (SPEC F6). A key is in it when it is included, or when all rules match; never when it is
 * excluded. Without rules only the included keys are in it. Fields that are not known here are kept.
 */
export const segmentDefinition = z.looseObject({
  description: z.string().default(''),
  includedKeys: z.array(z.string()).default([]),
  excludedKeys: z.array(z.string()).default([]),
  rules: z.array(flagRule).default([]),
});

export type SegmentDefinition = z.infer<typeof segmentDefinition>;
