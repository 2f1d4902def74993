import type { ServiceError } from '@mlx-serving/service-kit';
import type { z } from 'zod';
import { errors } from '../errors.ts';
import { unsupportedMessage } from './parameter.ts';

/**
 * Reads a request's body against its schema.
 * @throws UNKNOWN_PARAMETER, UNSUPPORTED_VALUE or INVALID_REQUEST, naming the parameter
 */
export function parseRequest<S extends z.ZodType>(schema: S, body: Record<string, unknown>): z.output<S> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw toError(parsed.error.issues);
}

function toError(issues: readonly z.core.$ZodIssue[]): ServiceError {
  const all = issues.flatMap(unfold);
  const unsupported = all.find((issue) => unsupportedMessage(issue.message) !== undefined);
  if (unsupported) {
    const param = toParam(unsupported.path);
    return errors.UNSUPPORTED_VALUE({ param, message: unsupportedMessage(unsupported.message) ?? '' }, { param });
  }
  const unknown = all.find((issue) => issue.code === 'unrecognized_keys');
  if (unknown) {
    const names = unknown.keys.map((key) => toParam([...unknown.path, key])).join(', ');
    return errors.UNKNOWN_PARAMETER({ names, plural: unknown.keys.length > 1 ? 's' : '' });
  }
  const param = toParam(issues[0]?.path ?? []);
  const message = (issues[0]?.message ?? 'it cannot be used').replace(/\.$/, '');
  return errors.INVALID_REQUEST({ message: `Invalid value for '${param}': ${message}.` }, { param });
}

/** An issue, and behind it those of the alternatives of a union, with whole paths. */
function unfold(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  return [issue, ...issue.errors.flat().flatMap((inner) => unfold({ ...inner, path: [...issue.path, ...inner.path] }))];
}

/** `messages[0].content`, as OpenAI names it. */
function toParam(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${String(key)}` : String(key)), '');
}
