#!/usr/bin/env node
import { readEnvironment } from '@mlx-serving/service-kit';
import { environment } from './config.ts';
import { runCommand } from './run-command.ts';

process.exitCode = await runCommand(process.argv.slice(2), readEnvironment(environment, process.env), process.stdout, process.stderr);
