import type { IncomingHttpHeaders } from 'node:http';
import { Priority } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';

/** Who asks, and what the key lets them. */
export interface Caller {
  /** Undefined: the tenant of those without a key. */
  readonly tenant: string | undefined;
  readonly priority: Priority;
  /** Longest time from the arrival to the last token that the caller grants, in milliseconds. */
  readonly deadlineMs: number | undefined;
  /** The user of the body, or the one that a header names. */
  user(given: string | undefined): string | undefined;
  /** What the decision hangs on, of the sources that the configuration names. */
  routingKey(user: string | undefined): string | undefined;
  /** Takes one request off the key's limits. @throws RATE_LIMITED or BUDGET_SPENT */
  admit(): void;
  /** Takes the tokens of one answer off the key's limits. */
  used(tokens: number): void;
}

export type Headers = Pick<IncomingHttpHeaders, string>;

const CLASSES: ReadonlyMap<string, Priority> = new Map([
  ['interactive', Priority.INTERACTIVE],
  ['normal', Priority.NORMAL],
  ['batch', Priority.BATCH],
  ['background', Priority.BACKGROUND],
]);

/**
 * The class of a request: that of the caller's key, or a lower one that the request names.
 * @throws INVALID_REQUEST when it names none
 */
export function priorityOf(header: string | undefined, ofKey: Priority): Priority {
  if (header === undefined) return ofKey;
  const asked = CLASSES.get(header);
  if (asked === undefined) throw errors.INVALID_REQUEST({ message: `x-mlx-serving-priority must be one of ${[...CLASSES.keys()].join(', ')}.` }, { param: 'x-mlx-serving-priority' });
  // A greater number is a lower class.
  return Math.max(asked, ofKey);
}

/** Longest time that a client can ask for: beyond it a timer overflows. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * The time that a client grants: `x-request-timeout-ms`, or of OpenAI's own clients, which say how long they wait for an
 * answer that is not streamed.
 * @throws INVALID_REQUEST when it is no number above 0
 */
export function deadlineOf(headers: Headers, stream: boolean): number | undefined {
  const own = text(headers['x-request-timeout-ms']);
  if (own !== undefined) {
    const timeout = Number(own);
    if (!(timeout > 0)) throw errors.INVALID_REQUEST({ message: 'x-request-timeout-ms must be a number above 0.' }, { param: 'x-request-timeout-ms' });
    return Math.min(LONGEST_MS, timeout);
  }
  const seconds = Number(text(headers['x-stainless-timeout']));
  return !stream && seconds > 0 ? Math.min(LONGEST_MS, seconds * 1_000) : undefined;
}

export function text(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header !== '' ? header : undefined;
}
