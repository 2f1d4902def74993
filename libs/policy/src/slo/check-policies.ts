import { needsPercentile, sloPercentile } from './slo-percentile.ts';
import type { QosMonitorSettings, Remediation, Slo, SloPolicy } from './slo-policy.ts';

export interface PolicyProblem {
  readonly path: (string | number)[];
  readonly message: string;
}

const TARGETS: Readonly<Record<Remediation['type'], Remediation['target']>> = {
  scale_up: 'governor',
  scale_down: 'governor',
  alert: 'stream_registry',
  shed_load: 'stream_registry',
  circuit_break: 'transport',
};

type Params = Remediation['params'];
const within = (value: Params[string] | undefined, least: number, most: number): boolean => typeof value === 'number' && value >= least && value <= most;

/** The one parameter of each kind of remediation, and what it must be. */
const PARAMETERS: Readonly<Record<Remediation['type'], { name: string; holds: (value: Params[string] | undefined) => boolean; must: string }>> = {
  scale_up: { name: 'delta', holds: (value) => Number.isInteger(value) && within(value, 1, 10_000), must: 'a whole number from 1 to 10000' },
  scale_down: { name: 'delta', holds: (value) => Number.isInteger(value) && within(value, 1, 10_000), must: 'a whole number from 1 to 10000' },
  alert: { name: 'channel', holds: (value) => value === 'slack' || value === 'pagerduty' || value === 'webhook', must: 'slack, pagerduty or webhook' },
  shed_load: { name: 'percentage', holds: (value) => value !== 0 && within(value, 0, 100), must: 'above 0 and at most 100' },
  circuit_break: { name: 'duration_ms', holds: (value) => within(value, 100, 3_600_000), must: '100 to 3600000' },
};

/** What the schema of `runtime.yaml` cannot see of its policies, each with the place of it. */
export function checkPolicies({ qos_monitor: { policy_store, evaluator } }: { readonly qos_monitor: QosMonitorSettings }): PolicyProblem[] {
  const seen = new Set<string>();
  const problems = policy_store.policies.flatMap((policy, index) => {
    const path = ['qos_monitor', 'policy_store', 'policies', index];
    const repeated = seen.has(policy.id) ? [{ path: [...path, 'id'], message: `There are two policies ${policy.id}.` }] : [];
    seen.add(policy.id);
    return [...repeated, ...problemsOf(policy).map((problem) => ({ ...problem, path: [...path, ...problem.path] }))];
  });
  const vote = evaluator.evaluations_agreeing > evaluator.evaluations_looked_at;
  if (vote) problems.push({ path: ['qos_monitor', 'evaluator', 'evaluations_agreeing'], message: 'More evaluations cannot agree than are looked at.' });
  return problems;
}

/** Problems of one policy, their paths from the policy on. */
export function problemsOf(policy: SloPolicy): PolicyProblem[] {
  return [
    ...policy.slos.flatMap((slo, at) => sloProblems(slo).map(({ path, message }) => ({ path: ['slos', at, ...path], message }))),
    ...policy.remediations.flatMap((remediation, at) => remediationProblems(remediation).map(({ path, message }) => ({ path: ['remediations', at, ...path], message }))),
  ];
}

function sloProblems(slo: Slo): PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  const isMinimum = slo.metric === 'throughput';
  if (needsPercentile(slo) && sloPercentile(slo) === undefined) {
    problems.push({ path: ['name'], message: `An SLO on ${slo.metric} needs a percentile, or a name such as ${slo.metric}_p95.` });
  }
  if (slo.objective !== undefined && (isMinimum || slo.metric === 'stream_count')) problems.push({ path: ['objective'], message: `${slo.metric} has no error budget.` });
  problems.push(...burnProblems(slo));
  const exit = slo.exit_threshold;
  if (exit !== undefined && (isMinimum ? exit < slo.threshold : exit > slo.threshold)) {
    problems.push({ path: ['exit_threshold'], message: `It must be ${isMinimum ? 'at least' : 'at most'} the threshold.` });
  }
  return problems;
}

function burnProblems({ burn_rates = [], objective }: Slo): PolicyProblem[] {
  if (burn_rates.length > 0 && objective === undefined) return [{ path: ['burn_rates'], message: 'Burn rates need an objective.' }];
  return burn_rates.flatMap(({ long_ms, short_ms }, at) => (short_ms > long_ms ? [{ path: ['burn_rates', at, 'short_ms'], message: 'The short window is longer than the long one.' }] : []));
}

function remediationProblems({ type, target, params }: Remediation): PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  const { name, holds, must } = PARAMETERS[type];
  if (target !== TARGETS[type]) problems.push({ path: ['target'], message: `The target of ${type} is ${TARGETS[type]}.` });
  if (!holds(params[name])) problems.push({ path: ['params'], message: `${type} needs ${name}: ${must}.` });
  for (const other of Object.keys(params)) if (other !== name) problems.push({ path: ['params', other], message: `${type} has no parameter ${other}.` });
  return problems;
}
