import { hostname } from 'node:os';
import { z } from 'zod';
import { DEFAULT_ENVIRONMENT, environmentName } from '@mlx-serving/policy';
import { address, commonEnvironment, type EnvironmentValues, port, positiveInteger, text } from '@mlx-serving/service-kit';

/** Every environment variable of the flag service. */
export const environment = {
  ...commonEnvironment({ name: 'MLX_SERVING_FLAGS_OPERATIONS_PORT', default: '9102' }),
  grpcPort: { name: 'MLX_SERVING_FLAGS_GRPC_PORT', default: '50052', schema: port, help: 'Port of the gRPC service Flags.' },
  redisUrl: { name: 'REDIS_URL', default: 'redis://127.0.0.1:16379', schema: text, help: 'The Redis that holds the flags.' },
  redisPrefix: {
    name: 'MLX_SERVING_REDIS_PREFIX',
    schema: z.string().default(''),
    help: 'Put before every key, so that several systems can share a Redis. Default: nothing.',
  },
  acknowledgeWithinMs: {
    name: 'MLX_SERVING_FLAGS_ACK_TIMEOUT_MS',
    default: '2000',
    schema: positiveInteger,
    help: 'Longest wait, in milliseconds, for the gateways to acknowledge a change; the answer names those that did not.',
  },
  refreshMs: {
    name: 'MLX_SERVING_FLAGS_REFRESH_MS',
    default: '4500',
    schema: positiveInteger,
    help: 'How often, in milliseconds, all flags are read from Redis: what another tool wrote there is seen no later.',
  },
  revisionCheckMs: {
    name: 'MLX_SERVING_FLAGS_REVISION_CHECK_MS',
    default: '1000',
    schema: positiveInteger,
    help: 'How often, in milliseconds, the revision is compared with Redis, which makes up for a lost announcement.',
  },
  replicaId: {
    name: 'MLX_SERVING_REPLICA_ID',
    schema: z.string().regex(/^[\w.-]{1,128}$/, 'must be 1 to 128 letters, digits, dots, _ and -').optional(),
    help: 'How the other flag services on the same Redis know this one. Default: flags-<hostname>-<gRPC port>.',
  },
  environment: {
    name: 'MLX_SERVING_ENV',
    default: DEFAULT_ENVIRONMENT,
    schema: environmentName,
    help: 'In production a change needs a reason, and a large one a second person.',
  },
  approvalStep: {
    name: 'MLX_SERVING_FLAGS_APPROVAL_STEP',
    default: '25',
    schema: z.coerce.number().min(0).max(100),
    help: 'Percentage points by which one person may raise a rollout in production.',
  },
  qosAddress: {
    name: 'MLX_SERVING_QOS_ADDRESS',
    default: '',
    schema: z.union([z.literal(''), address]),
    help: 'The quality of service controller, whose error rate guards rollouts. Default: none, and no guard.',
  },
  rolloutMaxErrorRate: {
    name: 'MLX_SERVING_FLAGS_ROLLOUT_MAX_ERROR_RATE',
    default: '0.05',
    schema: z.coerce.number().min(0).max(1),
    help: 'A rollout goes back to where it began when more than this share of requests fails.',
  },
  auditKeep: {
    name: 'MLX_SERVING_FLAGS_AUDIT_KEEP',
    default: '100000',
    schema: positiveInteger,
    help: 'Entries of the audit trail that stay in Redis; older ones go to files in the state directory.',
  },
  rolloutTickMs: {
    name: 'MLX_SERVING_FLAGS_ROLLOUT_TICK_MS',
    default: '1000',
    schema: positiveInteger,
    help: 'How often, in milliseconds, rollouts are looked at.',
  },
} as const;

export type FlagsConfig = EnvironmentValues<typeof environment>;

/** The id by which the other flag services know this one, and under which it keeps its state. */
export function replicaIdOf(config: Pick<FlagsConfig, 'replicaId' | 'grpcPort'>): string {
  return config.replicaId ?? `flags-${hostname()}-${config.grpcPort}`;
}
