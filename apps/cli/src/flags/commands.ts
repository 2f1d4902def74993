import type { Command } from '../command.ts';
import { audit, diff, explain, revert, verify } from './audit.ts';
import { exportAll, get, importAll, list, patch, preview, remove, set } from './definitions.ts';
import { emergency, kill, revive } from './kill.ts';
import { pending, rollout, store, tokens } from './operators.ts';
import { stale } from './stale.ts';

export const flagCommands: Readonly<Record<string, Command>> = {
  ...{ list, get, set, patch, delete: remove, kill, revive, emergency, preview },
  ...{ explain, audit, verify, diff, revert, export: exportAll, import: importAll },
  ...{ rollout, pending, tokens, store, stale },
};
