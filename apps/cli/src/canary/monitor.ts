import { writeFile } from 'node:fs/promises';
import type { Command } from '../command.ts';
import { LiveView } from './live-view.ts';
import { readNumber } from './stages.ts';

interface Side {
  readonly p95Latency: number;
  readonly errorRate: number;
}

export interface CanaryHealth {
  readonly canary: { readonly percentage: number; readonly requests: { readonly baseline: number; readonly canary: number }; readonly metrics: { readonly baseline: Side; readonly canary: Side }; readonly status: string };
}

/** One look, as `--output FILE.json` keeps it. */
interface Look extends CanaryHealth {
  readonly at: string;
}

const LOOK_EVERY_MS = 5_000;
/** On a terminal. */
const LIVE_EVERY_MS = 1_000;
const MINUTE_MS = 60_000;
const MOST_LOOKS = 10_000;
const BAD: ReadonlySet<string> = new Set(['rolled_back', 'rolling_back', 'warning', 'sample_ratio_mismatch', 'aborted']);

/** The report of the guide, from /health/canary. */
export function report({ canary: { percentage, requests, metrics, status } }: CanaryHealth): string {
  const all = Math.max(1, requests.baseline + requests.canary);
  const share = (count: number): string => `${((100 * count) / all).toFixed(1)}%`;
  const signed = (value: number): string => `${value >= 0 ? '+' : ''}${value.toFixed(1)}%`;
  const { baseline, canary } = metrics;
  const slower = baseline.p95Latency > 0 ? (canary.p95Latency / baseline.p95Latency - 1) * 100 : 0;
  return [
    '=== Canary Monitoring ===',
    `Rollout: ${percentage}%`,
    `Baseline: ${requests.baseline} requests (${share(requests.baseline)})`,
    `Canary: ${requests.canary} requests (${share(requests.canary)})`,
    '',
    `Baseline P95 latency: ${Math.round(baseline.p95Latency)}ms`,
    `Canary P95 latency: ${Math.round(canary.p95Latency)}ms`,
    `Latency delta: ${signed(slower)}`,
    '',
    `Baseline error rate: ${(baseline.errorRate * 100).toFixed(1)}%`,
    `Canary error rate: ${(canary.errorRate * 100).toFixed(1)}%`,
    `Error delta: ${signed((canary.errorRate - baseline.errorRate) * 100)}`,
    '',
    `Status: ${statusLine(status)}`,
  ].join('\n');
}

function statusLine(status: string): string {
  if (status === 'healthy' || status === 'promoted') return '✓ HEALTHY (all metrics within thresholds)';
  return `${BAD.has(status) ? '✗' : '…'} ${status.toUpperCase().replaceAll('_', ' ')}`;
}

/** What `--output` keeps: of a name that ends in .json every look, else the last report. */
async function save(file: string, looks: readonly Look[]): Promise<void> {
  const last = looks.at(-1);
  if (last) await writeFile(file, file.endsWith('.json') ? `${JSON.stringify(looks, null, 2)}\n` : `${report(last)}\n`);
}

export const monitor: Command = {
  help: 'watch the canary: --duration MINUTES (default: until stopped), --output FILE for the report, or FILE.json for every look',
  options: { duration: { type: 'string' }, output: { type: 'string' } },
  run: async (context) => {
    const { api, values, isTerminal } = context;
    const { duration, output } = values;
    const end = performance.now() + (duration === undefined ? Number.POSITIVE_INFINITY : readNumber('duration', duration) * MINUTE_MS);
    const everyMs = isTerminal ? LIVE_EVERY_MS : LOOK_EVERY_MS;
    const view = new LiveView(context);
    const looks: Look[] = [];
    for (;;) {
      const health = await api.gateway<CanaryHealth>('/health/canary').catch((error: unknown) => missed(error, looks.length > 0));
      if (health instanceof Error) view.show(health.message);
      else {
        looks.push({ at: new Date().toISOString(), ...health });
        if (looks.length > MOST_LOOKS) looks.shift();
        view.show(report(health));
        if (typeof output === 'string') await save(output, looks);
      }
      if (performance.now() + everyMs > end) return BAD.has(looks.at(-1)?.canary.status ?? '') ? 1 : 0;
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  },
};

/** One look that finds no gateway does not end the watch, unless it is the first. */
function missed(error: unknown, hasSeen: boolean): Error {
  if (hasSeen && error instanceof Error) return error;
  throw error;
}
