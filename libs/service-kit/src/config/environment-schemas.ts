import { z } from 'zod';

/** A TCP port; 0 lets the system choose. */
export const port = z.coerce.number().int().min(0).max(65535);

export const positiveInteger = z.coerce.number().int().min(1);

export const text = z.string().min(1, 'must not be empty');

/** `host:port`. */
export const address = z.string().regex(/^[^\s:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$/, 'must be host:port');

/** Comma-separated `host:port`; empty text is an empty list. */
export const addresses = z
  .string()
  .default('')
  .transform((value) => value.split(',').map((part) => part.trim()).filter((part) => part !== ''))
  .pipe(z.array(address));

/** `host:port` of a worker, or the URL of a server of OpenAI's API. */
export const workerAddress = z.union([address, z.url({ protocol: /^https?$/, error: 'must be host:port or a URL' })], 'must be host:port, or the URL of an OpenAI-compatible server');

/** Comma-separated addresses of workers; empty text is an empty list. */
export const workerAddresses = z
  .string()
  .default('')
  .transform((value) => value.split(',').map((part) => part.trim()).filter((part) => part !== ''))
  .pipe(z.array(workerAddress));

/** The same without servers of OpenAI's API, which have no statistics to watch. */
export const watchedWorkers = workerAddresses.transform((all) => all.filter((one) => !one.includes('://')));

export const logLevel = z.enum(['debug', 'info', 'warn', 'error']);

export const flag = z.enum(['true', 'false']).transform((value) => value === 'true');
