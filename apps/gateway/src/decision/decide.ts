import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type Decision, DecisionSchema, type RoutingTable } from '@mlx-serving/contracts';
import type { CompiledFlags } from '@mlx-serving/evaluation';
import { bucketByKey, isInRollout } from '@mlx-serving/hashing';
import type { Variant, VariantReason } from '@mlx-serving/policy';

/** The flags as one revision of the snapshot has them. */
export interface FlagState {
  readonly revision: bigint;
  readonly flags: CompiledFlags;
  /** The emergency switch that sends everything to the baseline. */
  readonly rollbackToBaseline: boolean;
}

/** How the traffic is split. */
export interface RoutingState {
  /** Absent until the canary service has sent one. */
  readonly table: RoutingTable | undefined;
  /** Whether a worker of the canary serves. */
  readonly canaryAvailable: boolean;
}

/** What a decision may depend on of a request. */
export interface DecisionRequest {
  readonly requestId: string;
  /** The caller's user, from the body or the header. Without one a request is a unit of its own. */
  readonly user: string | undefined;
  /** What the decision hangs on. Default: the user, else the request id. */
  readonly routingKey?: string | undefined;
  /** The name of the caller's tenant. */
  readonly tenant?: string | undefined;
  readonly model: string;
  /** For strategy random: a number of at least 0 and below 1. */
  readonly draw: number;
}

/**
 * Decides everything that is decided about a request, from what is in memory alone.
 * The same snapshot, routing and request always give the same decision (flags with strategy random excepted).
 */
export function decide(snapshot: FlagState, routing: RoutingState, request: DecisionRequest): Decision {
  const key = request.routingKey ?? request.user ?? request.requestId;
  const attributes = { user_id: request.user, request_id: request.requestId, model: request.model, tenant: request.tenant };
  const { enabled, reasons } = snapshot.flags.evaluateAll({ key, attributes: withoutAbsent(attributes) });
  const { variant, reason } = chooseVariant(snapshot.rollbackToBaseline, routing, request);
  return create(DecisionSchema, {
    requestId: request.requestId,
    variant,
    variantReason: reason,
    enabledFlags: [...enabled],
    flagReasons: reasons,
    flagsRevision: snapshot.revision,
    routingRevision: routing.table?.revision ?? 0n,
    routingKeyHash: createHash('sha256').update(key).digest('hex').slice(0, 16),
  });
}

function chooseVariant(rollbackToBaseline: boolean, { table, canaryAvailable }: RoutingState, request: DecisionRequest): { variant: Variant; reason: VariantReason } {
  if (rollbackToBaseline) return { variant: 'baseline', reason: 'ROLLBACK_TO_BASELINE' };
  if (!table?.enabled) return { variant: 'baseline', reason: 'CANARY_DISABLED' };
  if (!canaryAvailable) return { variant: 'baseline', reason: 'NO_CANARY_WORKER' };
  return isInRollout(unitOf(table, request), table.rolloutPercentage)
    ? { variant: 'canary', reason: 'IN_CANARY_SHARE' }
    : { variant: 'baseline', reason: 'OUTSIDE_CANARY_SHARE' };
}

/** Where the request falls among 100 000 places. */
function unitOf(table: RoutingTable, request: DecisionRequest): number {
  if (table.strategy === 'random') return Math.floor(request.draw * 100_000);
  const key = table.hashKey === 'user_id' ? (request.routingKey ?? request.user ?? request.requestId) : request.requestId;
  return bucketByKey(key, table.hashSeed);
}

function withoutAbsent(attributes: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(attributes).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
