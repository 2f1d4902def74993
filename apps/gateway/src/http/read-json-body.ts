import type { IncomingMessage } from 'node:http';
import { errors } from '../errors.ts';
import type { HttpContext } from './http-context.ts';

/**
 * Reads a JSON object.
 * @throws UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, BODY_NOT_JSON, or CLIENT_GONE when the client leaves meanwhile
 */
export async function readJsonBody({ request }: HttpContext, maxBytes: number): Promise<Record<string, unknown>> {
  const type = request.headers['content-type'] ?? '';
  if (!/^application\/json\s*(;|$)/i.test(type)) throw errors.UNSUPPORTED_MEDIA_TYPE({ type: printable(type) });
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw errors.BODY_TOO_LARGE({ limit: maxBytes });
  const text = await readText(request, maxBytes);
  const value = parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw errors.BODY_NOT_JSON();
  return value as Record<string, unknown>;
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
    request.once('error', () => reject(errors.CLIENT_GONE()));
    request.once('close', () => reject(errors.CLIENT_GONE()));
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
