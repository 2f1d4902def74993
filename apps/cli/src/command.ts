import type { ParseArgsConfig } from 'node:util';
import type { Api } from './api.ts';

export interface CommandContext {
  readonly api: Api;
  readonly write: (text: string) => void;
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  readonly positionals: readonly string[];
  /** Whether a person looks on, so that a view may be drawn anew in its place. */
  readonly isTerminal: boolean;
}

/** One command: its options, what it is for, and what it does. */
export interface Command {
  readonly help: string;
  readonly options: NonNullable<ParseArgsConfig['options']>;
  /** @returns the exit code. Default: 0 */
  run(context: CommandContext): Promise<number | void>;
}
