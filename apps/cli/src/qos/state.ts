import type { Command } from '../command.ts';
import { round } from './action-line.ts';

interface State {
  readonly acting: boolean;
  readonly term: number;
  readonly problem: string;
  readonly dryRun: boolean;
  readonly variantJudged: boolean;
  readonly linkedGateways: readonly string[];
  readonly slos: readonly { readonly policy: string; readonly slo: string; readonly verdict: string; readonly threshold: number; readonly value?: number; readonly samples: number }[];
  readonly remediations: readonly { readonly policy: string; readonly actuator: string; readonly value: number; readonly reason: string; readonly sinceMs: number; readonly dryRun: boolean }[];
  readonly alerts: readonly { readonly channel: string; readonly summary: string; readonly sinceMs: number }[];
}

function headLine({ acting, term, dryRun, variantJudged, linkedGateways, problem }: State): string {
  const parts = [acting ? `acts, term ${term}` : 'does not act', dryRun ? 'dry run' : '', variantJudged ? 'a variant is being judged' : '', `gateways: ${linkedGateways.join(', ') || 'none'}`, problem];
  return parts.filter((part) => part !== '').join('; ');
}

const MARKS: Readonly<Record<string, string>> = { ok: '✓', violated: '✗' };
const since = (ms: number): string => `since ${new Date(ms).toISOString()}`;

export const state: Command = {
  help: 'verdicts, what is in force and why, and open alerts; exit code 1 while an SLO is violated',
  options: {},
  run: async ({ api, write }) => {
    const found = await api.admin<State>('GET', '/admin/qos');
    write(headLine(found));
    for (const { policy, slo, verdict, threshold, value, samples } of found.slos) write(`${MARKS[verdict] ?? '…'} ${policy}/${slo}: ${verdict}, ${value === undefined ? 'no value' : round(value)} against ${threshold}, ${samples} samples`);
    for (const { policy, actuator, value, reason, sinceMs, dryRun } of found.remediations) write(`${dryRun ? 'would hold' : 'holds'} ${actuator} at ${round(value)} for ${policy}: ${reason}, ${since(sinceMs)}`);
    for (const { channel, summary, sinceMs } of found.alerts) write(`alert at ${channel}: ${summary}, ${since(sinceMs)}`);
    return found.slos.some(({ verdict }) => verdict === 'violated') ? 1 : 0;
  },
};
