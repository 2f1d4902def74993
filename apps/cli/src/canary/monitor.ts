import { writeFile } from 'node:fs/promises';
import type { Command } from '../command.ts';
import { readNumber } from './stages.ts';

interface Side {
  readonly p95Latency: number;
  readonly errorRate: number;
}

export interface CanaryHealth {
  readonly canary: { readonly percentage: number; readonly requests: { readonly baseline: number; readonly canary: number }; readonly metrics: { readonly baseline: Side; readonly canary: Side }; readonly status: string };
}

const LOOK_EVERY_MS = 5_000;
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

export const monitor: Command = {
  help: 'print the report every 5 s: --duration SECONDS (default: until stopped), --output FILE for the last one',
  options: { duration: { type: 'string' }, output: { type: 'string' } },
  run: async ({ api, write, values }) => {
    const end = performance.now() + (values['duration'] === undefined ? Number.POSITIVE_INFINITY : readNumber('duration', values['duration']) * 1_000);
    for (;;) {
      const health = await api.gateway<CanaryHealth>('/health/canary');
      write(report(health));
      if (typeof values['output'] === 'string') await writeFile(values['output'], `${report(health)}\n`);
      if (performance.now() + LOOK_EVERY_MS > end) return BAD.has(health.canary.status) ? 1 : 0;
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  },
};
