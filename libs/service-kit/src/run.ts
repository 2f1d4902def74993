import { createLogger, type Logger } from './logger.ts';
import { ConfigError } from './config/config-error.ts';
import { environmentHelp, type EnvironmentTable, type EnvironmentValues, readEnvironment } from './config/environment.ts';
import { logLevel } from './config/environment-schemas.ts';
import { StartupError } from './lifecycle-errors.ts';
import { startTelemetry } from './telemetry/start-telemetry.ts';

/** A composed service. `stop` must end by itself; `reload` re-reads the configuration files. */
export interface App {
  start(): Promise<void>;
  stop(): Promise<void>;
  reload?(): Promise<void>;
  /** Longest time that a stop may take before the process ends anyway, in milliseconds. Default: 15000. */
  stopLimitMs?(): number;
}

export interface Service<T extends EnvironmentTable> {
  readonly name: string;
  readonly description: string;
  readonly environment: T;
  createApp(config: EnvironmentValues<T>, logger: Logger): App | Promise<App>;
}

/** What the process itself reads, besides the service's own table. */
const processEnvironment = {
  logLevel: { name: 'MLX_SERVING_LOG_LEVEL', default: 'info', schema: logLevel, help: 'debug, info, warn or error.' },
} as const;

const STOP_LIMIT_MS = 15_000;

/**
 * Runs a service as a process: `--help`, configuration, start, SIGHUP to reload, SIGINT or SIGTERM to drain and stop.
 * Exit codes: 0 after a clean stop, 1 when it could not start or an unexpected error ended it.
 */
export async function run<T extends EnvironmentTable>(service: Service<T>): Promise<void> {
  if (process.argv.includes('--help')) {
    process.stdout.write(environmentHelp(service.name, service.description, { ...service.environment, ...processEnvironment }));
    return;
  }
  let logger = createLogger(service.name);
  try {
    logger = createLogger(service.name, readEnvironment(processEnvironment, process.env).logLevel);
    // Before the app, which asks for its tracers.
    const flush = await startTelemetry(service.name, process.env);
    const app = await service.createApp(readEnvironment(service.environment, process.env), logger);
    superviseProcess(app, flush, logger);
    await app.start();
    logger.info({ pid: process.pid }, 'started');
  } catch (error) {
    if (error instanceof StartupError || error instanceof ConfigError) process.stderr.write(`${service.name}: ${error.message}\n`);
    else logger.error({ err: error }, 'could not start');
    process.exit(1);
  }
}

function superviseProcess(app: App, flush: () => Promise<void>, logger: Logger): void {
  let stopping = false;
  const stop = (cause: string, exitCode: number): void => {
    if (stopping) return;
    stopping = true;
    logger.info({ cause }, 'stopping');
    setTimeout(() => process.exit(exitCode || 1), app.stopLimitMs?.() ?? STOP_LIMIT_MS).unref();
    app.stop().finally(flush).then(
      () => process.exit(exitCode),
      (error: unknown) => {
        logger.error({ err: error }, 'stopped with an error');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', () => stop('SIGTERM', 0));
  process.on('SIGINT', () => stop('SIGINT', 0));
  process.on('SIGHUP', () => void app.reload?.().catch((error: unknown) => logger.error({ err: error }, 'reload failed')));
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      logger.error({ err: error }, event);
      stop(event, 1);
    });
  }
}
