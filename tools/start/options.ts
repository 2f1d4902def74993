import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

export interface StartOptions {
  readonly portOffset: number;
  /** Absolute path. */
  readonly stateDirectory: string;
  readonly canary: boolean;
  readonly once: boolean;
  readonly json: boolean;
}

export const startHelp = `npm start: Redis, the MLX worker and the control plane, each as a process of this machine.

Options (after --):
  --port-offset N   add N to every port, so that a second system runs beside the first
  --state DIR       where state, logs and the admin token are kept (default: .mlx-serving)
  --canary          a second worker, as the canary variant
  --once            start, stream one answer, stop, exit 0
  --json            print one line of JSON when ready, in place of the text
  --only worker     only the worker, in the foreground; further options go to it (npm run worker -- --help)
  --help            this text

Environment:
  MODEL             the model: 'tiny' (default, in the repository), a folder, or a Hugging Face name
  REDIS_URL         a Redis that runs already; without it one is started
  PYTHON            the Python from which the environment is made
  MLX_SERVING_CONFIG_DIR   where the configuration files are (default: config)

Signals: SIGHUP reloads the configuration of every service. SIGINT and SIGTERM drain and stop; a second one kills.
`;

/** A reason not to go on that the person can mend: printed as one line, without a stack. */
export class LaunchError extends Error {
  override readonly name = 'LaunchError';
}

/** The highest port without an offset is 50062; with it, it must still be a port. */
const HIGHEST_OFFSET = 65535 - 50062;

/**
 * Reads the command line.
 * @returns null when help was asked for
 * @throws LaunchError for an option that is unknown or out of range
 */
export function readStartOptions(args: readonly string[], directory: string): StartOptions | null {
  const values = parse(args);
  if (values.help) return null;
  const portOffset = Number(values['port-offset']);
  if (!Number.isInteger(portOffset) || portOffset < 0 || portOffset > HIGHEST_OFFSET) {
    throw new LaunchError(`--port-offset must be a whole number from 0 to ${HIGHEST_OFFSET}.`);
  }
  return { portOffset, stateDirectory: resolve(directory, values.state), canary: values.canary, once: values.once, json: values.json };
}

function parse(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        'port-offset': { type: 'string', default: '0' },
        state: { type: 'string', default: '.mlx-serving' },
        canary: { type: 'boolean', default: false },
        once: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    return values;
  } catch (error) {
    throw new LaunchError(`${(error as Error).message.split('\n', 1)[0]} See --help.`);
  }
}
