import type { IncomingMessage } from 'node:http';
import { errors } from '../errors.ts';
import type { HttpContext } from './http-context.ts';

export interface BodyLimits {
  readonly max_body_bytes: number;
  /** Objects and arrays within one another. */
  readonly max_body_depth: number;
}

/**
 * Reads a JSON object.
 * @throws UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, BODY_TOO_DEEP, BODY_NOT_JSON, or CLIENT_GONE when the client leaves meanwhile
 */
export async function readJsonBody({ request }: HttpContext, { max_body_bytes: maxBytes, max_body_depth: maxDepth }: BodyLimits): Promise<Record<string, unknown>> {
  const type = request.headers['content-type'] ?? '';
  if (!/^application\/json\s*(;|$)/i.test(type)) throw errors.UNSUPPORTED_MEDIA_TYPE({ type: printable(type) });
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw errors.BODY_TOO_LARGE({ limit: maxBytes });
  const text = await readText(request, maxBytes);
  const value = parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw errors.BODY_NOT_JSON();
  if (isDeeper(value, maxDepth)) throw errors.BODY_TOO_DEEP({ limit: maxDepth });
  return value as Record<string, unknown>;
}

/** Whether a value has more levels of objects and arrays than so many. */
export function isDeeper(value: object, levels: number): boolean {
  if (levels === 0) return true;
  for (const name in value) {
    const inner = (value as Record<string, unknown>)[name];
    if (typeof inner === 'object' && inner !== null && isDeeper(inner, levels - 1)) return true;
  }
  return false;
}

function readText(request: IncomingMessage, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    request.on('data', (part: Buffer) => {
      size += part.length;
      if (size > maxBytes) {
        request.removeAllListeners('data').pause();
        reject(errors.BODY_TOO_LARGE({ limit: maxBytes }));
      } else parts.push(part);
    });
    request.once('end', () => resolve(Buffer.concat(parts).toString('utf8')));
    const gone = (): void => {
      // Every request closes in the end; making an error costs more than asking.
      if (!request.readableEnded) reject(errors.CLIENT_GONE());
    };
    request.once('error', gone);
    request.once('close', gone);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw errors.BODY_NOT_JSON({}, { cause: error });
  }
}

function printable(text: string): string {
  return text.slice(0, 100);
}
