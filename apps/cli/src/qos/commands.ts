import type { Command } from '../command.ts';
import { actions, explain } from './actions.ts';
import { policies, validate } from './policies.ts';
import { dryRun, record, replay } from './replay.ts';
import { state } from './state.ts';

export const qosCommands: Readonly<Record<string, Command>> = { state, policies, validate, actions, explain, 'dry-run': dryRun, record, replay };
