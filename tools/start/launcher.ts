import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { waitForCircle } from './circle.ts';
import { LaunchError, type StartOptions } from './options.ts';
import { assertPortsFree } from './port-check.ts';
import { portsFor, portsInUse } from './ports.ts';
import { endLeftovers } from './leftovers.ts';
import { servicesOf, type SystemOptions } from './services.ts';
import { StateDirectory } from './state-directory.ts';
import { streamOneAnswer } from './first-answer.ts';
import { readyText, urlsOf } from './ready-message.ts';
import { Supervisor } from './supervisor.ts';

/** Signals that come within this time after the first are the same key press: npm passes on what the terminal sent too. */
const SAME_KEY_PRESS_MS = 1_000;
/** How long the gateway may take to meet services that are ready already. */
const CIRCLE_LIMIT_MS = 15_000;

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Runs the whole system until it is told to stop. @returns the exit code */
export async function launch(options: StartOptions, environment: NodeJS.ProcessEnv): Promise<number> {
  const system = systemOf(options, environment);
  const state = new StateDirectory(options.stateDirectory);
  state.claim();
  try {
    await endLeftovers(state, say);
    await assertPortsFree(portsInUse(system.ports, { canary: options.canary, redis: system.redisServer !== '' }), options.portOffset + 100);
    state.turnLogs();
    state.ensureToken();
    return await supervise(options, system, state);
  } finally {
    state.release();
  }
}

function systemOf({ portOffset, stateDirectory, canary }: StartOptions, environment: NodeJS.ProcessEnv): SystemOptions {
  const ports = portsFor(portOffset);
  return {
    root,
    stateDirectory,
    ports,
    canary,
    node: process.execPath,
    python: environment['MLX_SERVING_PYTHON'] ?? 'python3',
    redisServer: environment['MLX_SERVING_REDIS_SERVER'] ?? '',
    redisUrl: environment['REDIS_URL'] || `redis://127.0.0.1:${ports.redis}`,
    environment,
  };
}

async function supervise(options: StartOptions, system: SystemOptions, state: StateDirectory): Promise<number> {
  const supervisor = new Supervisor({ services: servicesOf(system), state, directory: root, environment: system.environment, say });
  const told = handleSignals(supervisor);
  const urls = urlsOf(system, state);
  const work = async (): Promise<number | string> => {
    await supervisor.start();
    const missing = await waitForCircle(system.ports.gatewayOperations, CIRCLE_LIMIT_MS);
    if (missing.length > 0) say(`! ready, but the gateway still waits for ${missing.join(' and ')}`);
    process.stdout.write(options.json ? `${JSON.stringify(urls)}\n` : readyText(urls));
    if (!options.once) return supervisor.givenUp;
    process.stdout.write(`${await streamOneAnswer(urls.gateway, urls.model)}\n`);
    return 0;
  };
  try {
    const outcome = await Promise.race([work(), told]);
    if (typeof outcome === 'string') say(`✗ ${outcome}`);
    return typeof outcome === 'string' ? 1 : outcome;
  } finally {
    await supervisor.stop();
    say('✓ stopped');
  }
}

/** SIGHUP reloads, SIGINT and SIGTERM stop. @returns resolves with the exit code when told to stop */
function handleSignals(supervisor: Supervisor): Promise<number> {
  const hadTerminal = hasTerminal();
  return new Promise((resolve) => {
    let firstAt: number | undefined;
    const stop = (): void => {
      if (firstAt === undefined) {
        firstAt = performance.now();
        say('stopping; once more kills at once');
        resolve(0);
      } else if (performance.now() - firstAt > SAME_KEY_PRESS_MS) supervisor.kill();
    };
    process.on('SIGINT', stop);
    process.on('SIGTERM', stop);
    // A terminal that is closed sends the same signal as an operator who wants a reload.
    process.on('SIGHUP', () => (hadTerminal && !hasTerminal() ? stop() : supervisor.reload()));
  });
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** @throws everything that is not the person's to mend */
export function explain(error: unknown): number {
  if (!(error instanceof LaunchError)) throw error;
  say(`✗ ${error.message}`);
  return 1;
}
