import type { Slo } from './slo-policy.ts';

/** The end of a name such as `ttft_p95` or `ttft_p99_9`. */
const NAMED = /_p(\d{1,2})(?:[._](\d))?$/;

/** The percentile that an SLO is about: its own, or its name's. Undefined when neither says. */
export function sloPercentile(slo: Slo): number | undefined {
  if (slo.percentile !== undefined) return slo.percentile;
  const [, whole, tenth = '0'] = NAMED.exec(slo.name) ?? [];
  const percentile = whole === undefined ? 0 : Number(`${whole}.${tenth}`);
  return percentile >= 1 && percentile <= 99.9 ? percentile : undefined;
}

export function needsPercentile(slo: Slo): boolean {
  return slo.metric === 'ttft' || slo.metric === 'latency';
}
