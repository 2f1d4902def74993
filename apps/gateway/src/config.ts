import { hostname } from 'node:os';
import { DEFAULT_ENVIRONMENT, environmentName } from '@mlx-serving/policy';
import { address, commonEnvironment, type EnvironmentValues, port, workerAddresses } from '@mlx-serving/service-kit';
import { z } from 'zod';

/** Becomes part of a file name, and is how controllers know this process. */
const replicaId = z.string().regex(/^[\w.-]{1,128}$/, 'must be 1 to 128 letters, digits, dots, _ and -').optional();

const joinToken = z.string().max(512);

/** Every environment variable of this service. */
export const environment = {
  ...commonEnvironment({ name: 'MLX_SERVING_GATEWAY_OPERATIONS_PORT', default: '9101' }),
  httpPort: { name: 'MLX_SERVING_GATEWAY_HTTP_PORT', default: '3000', schema: port, help: 'Port of the OpenAI-compatible HTTP API.' },
  grpcPort: { name: 'MLX_SERVING_GATEWAY_GRPC_PORT', default: '50051', schema: port, help: 'Port of the gRPC service Inference.' },
  replicaId: { name: 'MLX_SERVING_REPLICA_ID', schema: replicaId, help: 'How controllers know this gateway. Default: gateway-<hostname>-<HTTP port>.' },
  flagsAddress: { name: 'MLX_SERVING_FLAGS_ADDRESS', default: '127.0.0.1:50052', schema: address, help: 'The flag service, host:port.' },
  qosAddress: { name: 'MLX_SERVING_QOS_ADDRESS', default: '127.0.0.1:50053', schema: address, help: 'The QoS service, host:port.' },
  canaryAddress: { name: 'MLX_SERVING_CANARY_ADDRESS', default: '127.0.0.1:50054', schema: address, help: 'The canary service, host:port.' },
  environment: { name: 'MLX_SERVING_ENV', default: DEFAULT_ENVIRONMENT, schema: environmentName, help: 'Whose values of the flags hold, such as production.' },
  keys: {
    name: 'MLX_SERVING_GATEWAY_KEYS',
    default: 'auto',
    schema: z.enum(['auto', 'required', 'open']),
    help: 'Whether clients need an API key: required, open, or auto: on every address but loopback.',
  },
  workers: { name: 'MLX_SERVING_WORKERS', default: '127.0.0.1:50061', schema: workerAddresses, help: 'Workers of the baseline, comma-separated: host:port, or http://[KEY@]host:port[/v1][#MODEL] for an OpenAI-compatible server.' },
  canaryWorkers: { name: 'MLX_SERVING_CANARY_WORKERS', schema: workerAddresses, help: 'Workers of the canary, in the same way.' },
  operatorTokenFile: { name: 'MLX_SERVING_ADMIN_TOKEN_FILE', schema: z.string().default(''), help: "The admin interface's token, whose bearer may have decisions explained. Default: admin-token in the state directory." },
  processes: { name: 'GATEWAY_WORKERS', default: '1', schema: z.coerce.number().int().min(1).max(64), help: 'Processes of this gateway, on the same ports. Each is a gateway of its own to the controllers.' },
  joinToken: { name: 'MLX_SERVING_JOIN_TOKEN', default: '', schema: joinToken, help: 'What workers show to join by themselves (mlx-worker --join). Without it only those of this machine may.' },
} as const;

export type GatewayConfig = EnvironmentValues<typeof environment>;

/** The id by which controllers know this gateway. */
export function replicaIdOf(config: Pick<GatewayConfig, 'replicaId' | 'httpPort'>): string {
  return config.replicaId ?? `gateway-${hostname()}-${config.httpPort}`;
}
