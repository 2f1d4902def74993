import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CliConfig } from './config.ts';
import { errors } from './errors.ts';

/** The services as the command sees them. */
export interface Api {
  /**
   * Calls the admin REST interface.
   * @param key names a change, so that asking again with it changes nothing more
   * @throws ServiceError with the service's message
   */
  admin<T>(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: object, key?: string): Promise<T>;
  gateway<T>(path: string): Promise<T>;
}

export function createApi({ adminUrl, gatewayUrl, tokenFile, stateDirectory }: CliConfig): Api {
  const file = tokenFile || join(stateDirectory, 'admin-token');
  const readToken = async (): Promise<string> => {
    try {
      return (await readFile(file, 'utf8')).trim();
    } catch (cause) {
      throw errors.TOKEN_UNREADABLE({ file }, { cause });
    }
  };
  return {
    admin: async (method, path, body, key) => {
      const headers = { authorization: `Bearer ${await readToken()}`, 'content-type': 'application/json', 'x-actor': 'cli', ...(key ? { 'idempotency-key': key } : {}) };
      return call(`${adminUrl}${path}`, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
    },
    gateway: (path) => call(`${gatewayUrl}${path}`, {}),
  };
}

async function call<T>(url: string, init: RequestInit): Promise<T> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(15_000) }).catch((cause: unknown) => {
    throw errors.UNREACHABLE({ url }, { cause });
  });
  const body = (await response.json()) as T & { error?: { message?: string } };
  if (!response.ok) throw errors.REFUSED({ message: body.error?.message ?? `${url} answered ${response.status}.` });
  return body;
}
