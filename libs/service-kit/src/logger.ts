import { type DestinationStream, pino } from 'pino';
import { standardError } from './standard-error.ts';

/** What services log with: JSON lines on standard error. */
export type Logger = Pick<import('pino').Logger, 'debug' | 'info' | 'warn' | 'error' | 'child'>;

/**
 * Creates the logger of a service. Levels carry their meaning for whoever is on call: a healthy service logs no `error`.
 * @param level one of debug, info, warn, error. Default: info.
 */
export function createLogger(service: string, level = 'info', destination: DestinationStream = standardError()): Logger {
  return pino(
    {
      level,
      base: { service },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['*.authorization', '*.token', '*.prompt', '*.messages', '*.content'], censor: '[redacted]' },
    },
    destination,
  );
}

/** @see plainLines */
export interface PlainLines {
  /**
   * @param fields at least one, which JSON can write
   * @param members further ones that are JSON already, `"name":value` and commas between. Default: none
   */
  info(fields: object, message: string, members?: string): void;
}

/** Where a logger writes, and the fields that all its lines have, as pino keeps them. */
type Internals = Pick<import('pino').Logger, 'isLevelEnabled'> & { readonly [pino.symbols.streamSym]?: DestinationStream; readonly [pino.symbols.chindingsSym]?: string };

/**
 * Writes lines as the logger does, of fields that the code names one by one, none of them a caller's object: it does not
 * look through them for secrets, which costs several times as much as writing the line.
 */
export function plainLines(logger: Logger): PlainLines {
  const { isLevelEnabled, [pino.symbols.streamSym]: stream, [pino.symbols.chindingsSym]: bindings } = logger as unknown as Internals;
  if (stream === undefined || !isLevelEnabled.call(logger, 'info')) return { info: () => undefined };
  return {
    info: (fields, message, members) => stream.write(`{"level":"info","time":"${isoTime()}"${bindings ?? ''},${JSON.stringify(fields).slice(1, -1)}${members === undefined ? '' : `,${members}`},"msg":${JSON.stringify(message)}}\n`),
  };
}

let lastTime = { ms: 0, text: '' };

/** Many lines are of the same millisecond. */
function isoTime(): string {
  const ms = Date.now();
  if (lastTime.ms !== ms) lastTime = { ms, text: new Date(ms).toISOString() };
  return lastTime.text;
}

/** A logger that writes nothing, for tests and libraries. */
export const silentLogger: Logger = pino({ level: 'silent' });
