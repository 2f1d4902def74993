import type { Logger } from '@mlx-serving/service-kit';
import type { z } from 'zod';
import type { RecordKind } from '../store/flag-store.ts';
import { readText } from '../store/read-text.ts';
import type { LiveFlags } from './live-flags.ts';

const MAX_REPORTED = 1_000;

/** One record that can be read, and its text in the store. */
export type ReadableRecord<T> = readonly [id: string, value: T, text: string];

/**
 * Reads what the store holds beside the flags: tokens, API keys, pending changes, rollouts. Other tools may write there, so one
 * record that cannot be read is left out, and logged once; it keeps nobody from the others.
 */
export class RecordReader {
  readonly #live: Pick<LiveFlags, 'records'>;
  readonly #logger: Logger;
  /** Texts that were reported, by kind and id. */
  readonly #reported = new Map<string, string>();

  constructor(live: Pick<LiveFlags, 'records'>, logger: Logger) {
    this.#live = live;
    this.#logger = logger;
  }

  all<T>(kind: RecordKind, schema: z.ZodType<T>): ReadableRecord<T>[] {
    return [...this.#live.records[kind].keys()].map((id) => this.one(kind, id, schema)).filter((record) => record !== undefined);
  }

  /** @returns undefined when there is no such record, or it cannot be read */
  one<T>(kind: RecordKind, id: string, schema: z.ZodType<T>): ReadableRecord<T> | undefined {
    const text = this.#live.records[kind].get(id);
    if (text === undefined) return undefined;
    const value = readText(schema, text);
    if (value === undefined) this.#report(kind, id, text);
    return value === undefined ? undefined : [id, value, text];
  }

  /** The text is not logged: it may hold the hash of a secret. */
  #report(kind: RecordKind, id: string, text: string): void {
    if (this.#reported.get(`${kind}:${id}`) === text) return;
    if (this.#reported.size >= MAX_REPORTED) this.#reported.clear();
    this.#reported.set(`${kind}:${id}`, text);
    this.#logger.error({ kind, id, length: text.length }, 'a record in redis cannot be read, and counts as none');
  }
}
