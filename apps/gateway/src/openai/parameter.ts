import { z } from 'zod';

const UNSUPPORTED = 'unsupported: ';

/** Marks a message so that the answer says that the value is not supported, rather than that it is wrong. */
export function unsupported(message: string): string {
  return UNSUPPORTED + message;
}

/** @returns what an unsupported value's message says, or undefined for a plain mistake */
export function unsupportedMessage(message: string): string | undefined {
  return message.startsWith(UNSUPPORTED) ? message.slice(UNSUPPORTED.length) : undefined;
}

/** One parameter of an endpoint: what is taken, and the row of docs/api.md. */
export interface Parameter<S extends z.ZodType = z.ZodType> {
  /** Ignored: taken, and changes nothing. Refused: every value that would change the answer is refused by name. */
  readonly support: 'supported' | 'ignored' | 'refused';
  readonly schema: S;
  /** A value that is taken; of a refused parameter one that is refused. */
  readonly example: unknown;
  readonly note: string;
  /** Other parameters that the example needs. */
  readonly beside?: Readonly<Record<string, unknown>>;
}

export type ParameterTable = Readonly<Record<string, Parameter>>;

/** The schema of a body whose parameters are those of a table, and no others. */
export function bodySchema<T extends ParameterTable>(table: T): z.ZodObject<{ [K in keyof T]: T[K]['schema'] }, z.core.$strict> {
  return z.strictObject(Object.fromEntries(Object.entries(table).map(([name, { schema }]) => [name, schema]))) as never;
}

export function supported<S extends z.ZodType>(schema: S, example: unknown, note: string, beside?: Record<string, unknown>): Parameter<S> {
  return { support: 'supported', schema, example, note, ...(beside ? { beside } : {}) };
}

/** Taken with any value of its kind, without effect. */
export function ignored<S extends z.ZodType>(schema: S, example: unknown, note: string): Parameter<z.ZodOptional<z.ZodNullable<S>>> {
  return { support: 'ignored', schema: schema.nullish(), example, note };
}

/** Refused, except for values that change nothing. */
export function refused(neutral: readonly unknown[], example: unknown, note: string): Parameter {
  const allowed = neutral.length === 0 ? 'null' : neutral.map((value) => JSON.stringify(value)).join(' or ');
  return { support: 'refused', schema: onlyNeutral(neutral, allowed), example, note };
}

/** Absent, null, or one of some values that change nothing. */
export function onlyNeutral(neutral: readonly unknown[], allowed: string): z.ZodOptional<z.ZodUnknown> {
  const texts = neutral.map((value) => JSON.stringify(value));
  const isNeutral = (value: unknown): boolean => value === undefined || value === null || texts.includes(JSON.stringify(value));
  return z.unknown().refine(isNeutral, unsupported(`leave it out or send ${allowed}.`)).optional();
}
