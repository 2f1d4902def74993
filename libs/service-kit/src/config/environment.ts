import type { z } from 'zod';
import { StartupError } from '../lifecycle-errors.ts';

/** One environment variable: its name, what it means, its default as text, and the schema that reads the text. */
export interface EnvironmentEntry {
  readonly name: string;
  readonly help: string;
  readonly schema: z.ZodType;
  readonly default?: string;
}

export type EnvironmentTable = Record<string, EnvironmentEntry>;

export type EnvironmentValues<T extends EnvironmentTable> = { readonly [K in keyof T]: z.output<T[K]['schema']> };

/**
 * Reads every variable of a table.
 * @returns a frozen object
 * @throws StartupError that names every variable at fault
 */
export function readEnvironment<T extends EnvironmentTable>(table: T, environment: NodeJS.ProcessEnv): EnvironmentValues<T> {
  const problems: string[] = [];
  const entries = Object.entries(table).map(([key, entry]) => {
    const text = environment[entry.name] || entry.default;
    const parsed = entry.schema.safeParse(text);
    if (!parsed.success) problems.push(`${entry.name}=${text ?? ''}: ${parsed.error.issues.map((issue) => issue.message).join(', ')}`);
    return [key, parsed.data];
  });
  if (problems.length > 0) throw new StartupError(problems.join('\n'));
  return Object.freeze(Object.fromEntries(entries)) as EnvironmentValues<T>;
}

/** The text of `--help`: every variable, its meaning and its default. */
export function environmentHelp(service: string, description: string, table: EnvironmentTable): string {
  const rows = Object.values(table).map((entry) => `  ${entry.name}${entry.default === undefined ? '' : `=${entry.default}`}\n      ${entry.help}`);
  return `mlx-serving-${service}: ${description}\n\nEnvironment:\n${rows.join('\n')}\n\nSignals: SIGHUP reloads the configuration, SIGTERM and SIGINT drain and stop.\n`;
}
