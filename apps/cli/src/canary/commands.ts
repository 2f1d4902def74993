import type { Command } from '../command.ts';
import { deploy } from './deploy.ts';
import { monitor } from './monitor.ts';
import { plan } from './plan.ts';
import { abort, pause, promote, resume, retry } from './move.ts';
import { rollback } from './rollback.ts';
import { status } from './status.ts';

export const canaryCommands: Readonly<Record<string, Command>> = { status, plan, deploy, pause, resume, promote, abort, retry, rollback, monitor };
