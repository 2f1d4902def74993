import { parseArgs } from 'node:util';
import { ServiceError } from '@mlx-serving/service-kit';
import { createApi } from './api.ts';
import { canaryCommands } from './canary/commands.ts';
import type { Command } from './command.ts';
import type { CliConfig } from './config.ts';
import { errors } from './errors.ts';
import { flagCommands } from './flags/commands.ts';
import { keyCommands } from './keys/commands.ts';
import { qosCommands } from './qos/commands.ts';

interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Every group of commands. */
const groups: Readonly<Record<string, Readonly<Record<string, Command>>>> = { canary: canaryCommands, flags: flagCommands, keys: keyCommands, qos: qosCommands };

const help = (): string =>
  `mlx-serving GROUP COMMAND [options]\n\n${Object.entries(groups)
    .flatMap(([group, commands]) => Object.entries(commands).map(([name, command]) => `  ${`${group} ${name}`.padEnd(18)} ${command.help}`))
    .join('\n')}\n`;

/** Runs one command line. @returns the exit code: 0 done, 1 refused or failed, 2 not understood */
export async function runCommand(args: readonly string[], config: CliConfig, out: Output, problems: Output): Promise<number> {
  const [group = '', name = '', ...rest] = args;
  const command = groups[group]?.[name];
  if (!command) {
    (args.includes('--help') ? out : problems).write(help());
    return args.includes('--help') ? 0 : 2;
  }
  try {
    const { values, positionals } = parse(command, rest);
    if (values['help']) out.write(`mlx-serving ${group} ${name}: ${command.help}\nOptions: ${Object.keys(command.options).map((option) => `--${option}`).join(' ') || 'none'}\n`);
    else return (await command.run({ api: createApi(config), write: (text) => void out.write(`${text}\n`), values, positionals, isTerminal: out.isTTY === true })) ?? 0;
    return 0;
  } catch (thrown) {
    const error = ServiceError.from(thrown);
    problems.write(`${error.message}\n`);
    return error.reason === 'USAGE' ? 2 : 1;
  }
}

function parse(command: Command, args: string[]): { values: Record<string, string | boolean | undefined>; positionals: string[] } {
  try {
    const options = { ...command.options, help: { type: 'boolean' as const } };
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    return { values: values, positionals };
  } catch (error) {
    throw errors.USAGE({ problem: (error as Error).message.split('. ', 1)[0] ?? '' });
  }
}
