import { z } from 'zod';

/** How many places a key can fall into. Cuts between variants lie on this line, whatever the weights add up to. */
const PLACES = 100_000;
/** What the weights of a flag may add up to: percent, or finer. */
const TOTALS: readonly number[] = [100, 1_000, 10_000, PLACES];

export const flagVariant = z.strictObject({
  name: z.string().min(1).max(128),
  /** Share of the keys for which the flag is on. */
  weight: z.number().int().min(0),
  /** Any JSON, for the code behind the flag. */
  payload: z.json().optional(),
});

export type FlagVariant = z.infer<typeof flagVariant>;

/** The variants of a flag, in the order in which they share the line (SPEC F6). */
export const flagVariants = z
  .array(flagVariant)
  .max(100)
  .superRefine((variants, context) => {
    const names = new Set<string>();
    variants.forEach(({ name }, index) => {
      if (names.has(name)) context.addIssue({ code: 'custom', path: [index, 'name'], message: `There are two variants ${name}.` });
      names.add(name);
    });
    const total = variants.reduce((sum, { weight }) => sum + weight, 0);
    if (variants.length > 0 && !TOTALS.includes(total)) {
      context.addIssue({ code: 'custom', message: `The weights must add up to 100 (or 1000, 10000, 100000 for finer shares), not to ${total}.` });
    }
  })
  .meta({ id: 'Variants' });

/**
 * Where the share of each variant ends on the line of 0 to 99999. A key whose place lies between an old and a new cut changes
 * its variant when weights change; nobody else does.
 */
export function variantCuts(variants: readonly FlagVariant[]): number[] {
  const total = variants.reduce((sum, { weight }) => sum + weight, 0);
  let end = 0;
  return variants.map(({ weight }) => {
    end += weight;
    return total === 0 ? 0 : Math.round((end * PLACES) / total);
  });
}
