import { create } from '@bufbuild/protobuf';
import { type CanaryComparison, type CanaryPlanRequest, type CanaryPlanResponse, CanaryPlanResponseSchema } from '@mlx-serving/contracts';
import { expectRequests } from '@mlx-serving/policy';
import { checkStages } from '../control/control-service.ts';

/** What a plan is made from: the present traffic. */
export interface PlanSource {
  readonly compare: () => CanaryComparison;
  /** Requests a second over the last minute. */
  readonly requestsPerSecond: () => number;
  /** Of the logarithm of the baseline's latency; undefined while it is not known. */
  readonly latencySigma: () => number | undefined;
  readonly countsUsers: () => boolean;
  /** How long a block of time is: a latency trigger needs more than two, however many requests come. */
  readonly blockMs: () => number;
}

/** The least rate of errors that is taken for a baseline that had none. */
const LEAST_ERROR_RATE = 0.002;
const MORE_ERRORS = 0.02;
const SLOWDOWN = 1.5;
/** Whole blocks of time before a canary can be found slow. */
const LEAST_BLOCKS = 2;

/** Says before the start how long detection and promotion will take with this traffic (SPEC C7). */
export function planRollout(request: CanaryPlanRequest, source: PlanSource): CanaryPlanResponse {
  const stages = request.stages.length > 0 ? request.stages.map(({ percentage }) => percentage) : [request.percentage];
  checkStages(stages.map((percentage) => ({ percentage, holdMs: 0, gate: false })));
  const requestsPerSecond = source.requestsPerSecond();
  const errorRate = Math.max(LEAST_ERROR_RATE, source.compare().baseline?.errorRate ?? 0);
  const sigma = source.latencySigma();
  return create(CanaryPlanResponseSchema, {
    requestsPerSecond,
    stages: stages.map((percentage) => planStage(percentage, { requestsPerSecond, errorRate, sigma, blockSeconds: source.blockMs() / 1_000 })),
    notes: [
      ...(requestsPerSecond === 0 ? ['no traffic was seen in the last minute, so no time can be told'] : []),
      ...(sigma === undefined ? ['too few requests were seen to know how far latencies spread, so a usual spread is taken'] : []),
      ...(source.countsUsers() ? ['of each user (or what else hashKey names) only the first event of a kind counts: with few of them detection takes longer, or never comes'] : []),
    ],
  });
}

/** The present traffic. */
interface Traffic {
  readonly requestsPerSecond: number;
  readonly errorRate: number;
  readonly sigma: number | undefined;
  readonly blockSeconds: number;
}

function planStage(percentage: number, { requestsPerSecond, errorRate, sigma, blockSeconds }: Traffic) {
  const share = percentage / 100;
  if (share <= 0 || share >= 1) return { percentage };
  const { slow: evidence, failing, promotion } = expectRequests({ share, errorRate, canaryErrorRate: errorRate + MORE_ERRORS, slowdown: SLOWDOWN, ...(sigma === undefined ? {} : { sigma }) });
  const slow = Math.max(evidence, Math.ceil(LEAST_BLOCKS * blockSeconds * requestsPerSecond * share));
  const seconds = (requests: number): number => requests / (requestsPerSecond * share);
  return {
    percentage,
    requestsToDetectSlow: BigInt(slow),
    requestsToDetectFailing: BigInt(failing),
    requestsToPromote: BigInt(promotion),
    requestsAtRisk: BigInt(Math.ceil(failing * (errorRate + MORE_ERRORS))),
    ...(requestsPerSecond > 0 ? { secondsToDetectSlow: seconds(slow), secondsToDetectFailing: seconds(failing), secondsToPromote: seconds(promotion) } : {}),
  };
}
