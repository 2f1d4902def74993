import type { Command } from '../command.ts';
import { describe, type Rollout } from './rollout.ts';

export const status: Command = {
  help: 'where the rollout stands, and why; --json for programs',
  options: { json: { type: 'boolean' } },
  run: async ({ api, write, values }) => {
    const rollout = await api.admin<Rollout>('GET', '/admin/canary/rollout');
    write(values['json'] ? JSON.stringify(rollout, null, 2) : describe(rollout));
  },
};
