export { type CliConfig, environment } from './config.ts';
export { runCommand } from './run-command.ts';
