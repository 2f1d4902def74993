import { type DestinationStream, pino } from 'pino';

const PIECE_BYTES = 8 * 1024;
const LATEST_MS = 100;

/** Standard error, written in pieces: a service that logs each request would else call the system for each. What waits is written within 100 ms, and at the exit. */
export function standardError(): DestinationStream {
  const stream = pino.destination({ dest: 2, minLength: PIECE_BYTES, sync: true });
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    timer = undefined;
    stream.flushSync();
  };
  process.once('exit', flush);
  return {
    write: (line) => {
      stream.write(line);
      timer ??= setTimeout(flush, LATEST_MS).unref();
    },
  };
}
