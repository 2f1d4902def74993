import type { MessageInitShape } from '@bufbuild/protobuf';
import { type LeaseSchema, Priority } from '@mlx-serving/contracts';
import { type RemediationLease, workerOf } from '@mlx-serving/policy';

type Directive = Extract<NonNullable<MessageInitShape<typeof LeaseSchema>['directive']>, { case: string }>;

/** One thing that a gateway is to do, by the actuator that it turns. */
export interface WantedDirective {
  readonly directive: Directive;
  readonly reason: string;
}

/** What every gateway is to do: its concurrency limit always, and what is remedied. */
export function directivesOf({ leases, baseLimit }: { readonly leases: readonly RemediationLease[]; readonly baseLimit: number }): Map<string, WantedDirective> {
  const wanted = new Map<string, WantedDirective>([['limit', { directive: { case: 'concurrencyLimit', value: baseLimit }, reason: 'governor.max_concurrent_streams' }]]);
  for (const lease of leases) wanted.set(lease.actuator, { directive: directiveOf(lease), reason: `${lease.policy}: ${lease.reason}` });
  return wanted;
}

function directiveOf({ actuator, value }: RemediationLease): Directive {
  if (actuator === 'limit') return { case: 'concurrencyLimit', value };
  if (actuator === 'shed') return { case: 'shedLoad', value: { priority: Priority.UNSPECIFIED, share: value } };
  return { case: 'openCircuit', value: { workerId: workerOf(actuator), halfOpen: value < 1 } };
}
