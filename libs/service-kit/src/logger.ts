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

/**
 * The same logger for lines whose fields the code names one by one, none of them a caller's object: it does not look
 * through them for secrets, which costs several times as much as writing the line.
 */
export function plainLines(logger: Logger): Logger {
  return logger.child({}, { redact: [] });
}

/** A logger that writes nothing, for tests and libraries. */
export const silentLogger: Logger = pino({ level: 'silent' });
