import type { Command, CommandContext } from '../command.ts';
import { errors } from '../errors.ts';

/** What every change answers. */
export interface Changed {
  readonly success: boolean;
  readonly message: string;
  readonly acknowledged?: readonly { readonly replica: string; readonly milliseconds: number }[];
  readonly missing?: readonly string[];
  readonly durable?: boolean;
  readonly propagation?: Changed;
  readonly impact?: { readonly message: string };
}

export const reason: Command['options'] = { reason: { type: 'string' } };

/** One positional. @throws USAGE when it is missing */
export function wanted({ positionals }: Pick<CommandContext, 'positionals'>, place: number, what: string): string {
  const value = positionals[place];
  if (value === undefined) throw errors.USAGE({ problem: `Give ${what}.` });
  return value;
}

/** The reason as the query of a change. */
export function because({ values }: Pick<CommandContext, 'values'>): string {
  return typeof values['reason'] === 'string' ? `?reason=${encodeURIComponent(values['reason'])}` : '';
}

/** Tells what a change did, and who has it. @returns 1 when a gateway has not acknowledged it, or nothing was done */
export function tell(write: (text: string) => void, changed: Changed): number {
  write(changed.message);
  if (changed.impact) write(`It ${changed.impact.message}.`);
  const proof = changed.propagation ?? changed;
  for (const { replica, milliseconds } of proof.acknowledged ?? []) write(`  ${replica} has it after ${milliseconds.toFixed(1)} ms`);
  for (const replica of proof.missing ?? []) write(`  ${replica} HAS NOT ACKNOWLEDGED IT`);
  if (proof.durable === false) write('  The store cannot be reached: the kill is on disk and will be written when it returns.');
  return changed.success && (proof.missing ?? []).length === 0 ? 0 : 1;
}

export function pathOf(name: string): string {
  return `/admin/flags/${encodeURIComponent(name)}`;
}

/** JSON given as an argument. @throws USAGE */
export function readObject(text: string): object {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Said below.
  }
  throw errors.USAGE({ problem: `${text} is not a JSON object.` });
}
