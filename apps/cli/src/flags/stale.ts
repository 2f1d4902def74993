import type { Command } from '../command.ts';
import { scanReferences } from './scan-references.ts';

interface Stale {
  readonly name: string;
  readonly why: string;
  readonly sinceMs: number;
  readonly decisions: number;
}

const DAY_MS = 24 * 3_600_000;
const WORDS: Readonly<Record<string, string>> = { 'rolled-out': 'fully on', 'never-evaluated': 'never evaluated' };

export const stale: Command = {
  help: 'flags that seem to be done with (SPEC F25): --days N unchanged (default 14), --scan DIR for where the code names them',
  options: { days: { type: 'string' }, scan: { type: 'string' } },
  run: async ({ api, write, values }) => {
    const stableMs = typeof values['days'] === 'string' ? Math.max(1, Math.round(Number(values['days']) * DAY_MS)) : 0;
    const found = await api.admin<Stale[]>('GET', `/admin/stale-flags?stable_ms=${stableMs}`);
    const references = typeof values['scan'] === 'string' ? await scanReferences(values['scan'], found.map(({ name }) => name)) : undefined;
    for (const { name, why, sinceMs, decisions } of found) {
      write(`${name}: ${WORDS[why] ?? why}, unchanged since ${new Date(sinceMs).toISOString()}, ${decisions} decisions`);
      const places = references?.get(name);
      if (places?.length === 0) write('  no reference in the code: it can be deleted');
      for (const { file, line } of places ?? []) write(`  ${file}:${line}`);
    }
    if (found.length === 0) write('No flag is stale.');
  },
};
