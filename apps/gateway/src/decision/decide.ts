import type { Decision, RoutingTable } from '@mlx-serving/contracts';
import type { AnswerObserver, CompiledFlags } from '@mlx-serving/evaluation';
import { FINE_BUCKETS, isInRollout } from '@mlx-serving/hashing';
import type { Variant, VariantReason } from '@mlx-serving/policy';
import { placeOf, type RoutingPlace, type RoutingPlaces } from './routing-places.ts';

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
  /** The canary service was not heard for too long. Default: false. */
  readonly leaseEnded?: boolean;
  /** Remembers where keys fall. */
  readonly places?: RoutingPlaces;
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
  /** A header of the request, by its name in lower case. */
  readonly header?: ((name: string) => string | undefined) | undefined;
  /** For strategy random: a number of at least 0 and below 1. */
  readonly draw: number;
}

/**
 * Decides everything that is decided about a request, from what is in memory alone.
 * The same snapshot, routing and request always give the same decision (flags with strategy random excepted).
 * @param observe takes the answer of each flag
 */
export function decide(snapshot: FlagState, routing: RoutingState, request: DecisionRequest, observe?: AnswerObserver): Decision {
  const key = flagKeyOf(request);
  const { enabled, reasons } = snapshot.flags.evaluateAll({ key, attributes: attributesOf(request) }, observe);
  const unit = unitOf(routing, request, key);
  const { variant, reason } = chooseVariant(snapshot.rollbackToBaseline, routing, unit.place);
  return {
    $typeName: 'mlx_serving.v1.Decision',
    requestId: request.requestId,
    variant,
    variantReason: reason,
    // Frozen, and shared by all decisions that came out alike.
    enabledFlags: enabled as string[],
    flagReasons: reasons,
    flagsRevision: snapshot.revision,
    routingRevision: routing.table?.revision ?? 0n,
    routingKeyHash: unit.hash,
  };
}

/** The key by which the shares of flags split requests. */
export function flagKeyOf({ routingKey, user, requestId }: Pick<DecisionRequest, 'routingKey' | 'user' | 'requestId'>): string {
  return routingKey ?? user ?? requestId;
}

function chooseVariant(rollbackToBaseline: boolean, { table, canaryAvailable, leaseEnded }: RoutingState, place: number): { variant: Variant; reason: VariantReason } {
  if (rollbackToBaseline) return { variant: 'baseline', reason: 'ROLLBACK_TO_BASELINE' };
  if (!table?.enabled) return { variant: 'baseline', reason: 'CANARY_DISABLED' };
  if (!canaryAvailable) return { variant: 'baseline', reason: 'NO_CANARY_WORKER' };
  if (leaseEnded) return { variant: 'baseline', reason: 'LEASE_ENDED' };
  return isInRollout(place, table.rolloutPercentage) ? { variant: 'canary', reason: 'IN_CANARY_SHARE' } : { variant: 'baseline', reason: 'OUTSIDE_CANARY_SHARE' };
}

/** Where the request falls, and the name of what was routed: the unit that a verdict counts (SPEC C1, 6). */
function unitOf({ table, places }: RoutingState, request: DecisionRequest, key: string): RoutingPlace {
  const hashed = table ? hashedOf(table.hashKey, request, key) : key;
  // A request id does not come again, so it is not worth remembering.
  const found = places && hashed !== request.requestId ? places.of(hashed) : placeOf(hashed, table?.hashSeed ?? '');
  return table?.strategy === 'random' ? { place: Math.floor(request.draw * FINE_BUCKETS), hash: found.hash } : found;
}

/** The value of `hashKey`; without one a request is a unit of its own. */
function hashedOf(hashKey: string, request: DecisionRequest, key: string): string {
  if (hashKey === 'user_id') return key;
  if (hashKey === 'tenant') return request.tenant || request.requestId;
  if (hashKey === 'model') return request.model;
  const header = hashKey.startsWith('header:') ? request.header?.(hashKey.slice('header:'.length)) : undefined;
  return header || request.requestId;
}

/** What rules may ask for. What the request does not have is no attribute. */
export function attributesOf({ user, requestId, model, tenant }: Pick<DecisionRequest, 'user' | 'requestId' | 'model' | 'tenant'>): Record<string, string> {
  const attributes: Record<string, string> = { request_id: requestId, model };
  if (user !== undefined) attributes['user_id'] = user;
  if (tenant !== undefined) attributes['tenant'] = tenant;
  return attributes;
}
