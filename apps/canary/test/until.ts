import { setTimeout as pause } from 'node:timers/promises';

/** Waits until `read` gives something, looking again every 10 ms. @throws after `limitMs` */
export async function until<T>(what: string, read: () => T | undefined | false | Promise<T | undefined | false>, limitMs = 5_000): Promise<T> {
  for (const end = performance.now() + limitMs; performance.now() < end; await pause(10)) {
    const value = await read();
    if (value !== undefined && value !== false) return value;
  }
  throw new Error(`waited ${limitMs} ms in vain for ${what}`);
}
