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

export const logLevel = z.enum(['debug', 'info', 'warn', 'error']);

export const flag = z.enum(['true', 'false']).transform((value) => value === 'true');
