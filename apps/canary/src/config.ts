import { commonEnvironment, type EnvironmentValues, port, text, watchedWorkers } from '@mlx-serving/service-kit';
import { z } from 'zod';

/** Every environment variable of this service. */
export const environment = {
  ...commonEnvironment({ name: 'MLX_SERVING_CANARY_OPERATIONS_PORT', default: '9104' }),
  grpcPort: { name: 'MLX_SERVING_CANARY_GRPC_PORT', default: '50054', schema: port, help: 'Port of the gRPC service Canary.' },
  canaryWorkers: {
    name: 'MLX_SERVING_CANARY_WORKERS',
    schema: watchedWorkers,
    help: 'Workers of the canary, host:port, comma-separated. Those that join a gateway are known as well; without any the canary gets no traffic.',
  },
  replicaId: {
    name: 'MLX_SERVING_REPLICA_ID',
    default: '',
    schema: z.string().max(128),
    help: 'Name under which this replica acts. Default: host and gRPC port, so that a restart takes up at once what it left.',
  },
  redisUrl: { name: 'REDIS_URL', default: 'redis://127.0.0.1:16379', schema: text, help: 'Where the rollout and the revision of the routing table are kept.' },
  redisPrefix: { name: 'MLX_SERVING_REDIS_PREFIX', default: '', schema: z.string(), help: 'Put before every key in Redis.' },
} as const;

export type CanaryConfig = EnvironmentValues<typeof environment>;
