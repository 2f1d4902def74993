import { type DestinationStream, pino } from 'pino';

const PIECE_CHARACTERS = 32 * 1024;
const LATEST_MS = 100;

/** Standard error, written in pieces: a service that logs each request would else call the system for each. What waits is written within 100 ms, and at the exit. */
export function standardError(): DestinationStream {
  const stream = pino.destination({ dest: 2, sync: true });
  let pending = '';
  let timer: NodeJS.Timeout | undefined;
  const write = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const text = pending;
    pending = '';
    if (text !== '') stream.write(text);
  };
  process.once('exit', () => {
    write();
    // Only here: it also waits for the disk.
    stream.flushSync();
  });
  return {
    write: (line) => {
      pending += line;
      if (pending.length >= PIECE_CHARACTERS) write();
      else timer ??= setTimeout(write, LATEST_MS).unref();
    },
  };
}
