import { addresses, commonEnvironment, type EnvironmentValues, port } from '@mlx-serving/service-kit';

/** Every environment variable of this service. */
export const environment = {
  ...commonEnvironment({ name: 'MLX_SERVING_QOS_OPERATIONS_PORT', default: '9103' }),
  grpcPort: { name: 'MLX_SERVING_QOS_GRPC_PORT', default: '50053', schema: port, help: 'Port of the gRPC service Qos.' },
  workers: { name: 'MLX_SERVING_WORKERS', default: '127.0.0.1:50061', schema: addresses, help: 'Workers of the baseline to watch, host:port, comma-separated.' },
  canaryWorkers: { name: 'MLX_SERVING_CANARY_WORKERS', schema: addresses, help: 'Workers of the canary to watch, host:port, comma-separated.' },
} as const;

export type QosConfig = EnvironmentValues<typeof environment>;
