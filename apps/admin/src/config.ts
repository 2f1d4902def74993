import { z } from 'zod';
import { address, commonEnvironment, type EnvironmentValues, port } from '@mlx-serving/service-kit';

/** Every environment variable of the admin service. */
export const environment = {
  ...commonEnvironment({ name: 'MLX_SERVING_ADMIN_OPERATIONS_PORT', default: '9105' }),
  httpPort: { name: 'MLX_SERVING_ADMIN_HTTP_PORT', default: '3001', schema: port, help: 'Port of the admin REST interface.' },
  tokenFile: {
    name: 'MLX_SERVING_ADMIN_TOKEN_FILE',
    schema: z.string().default(''),
    help: 'The bearer token that every call under /admin needs; made when it is missing. Default: admin-token in the state directory.',
  },
  flagsAddress: { name: 'MLX_SERVING_FLAGS_ADDRESS', default: '127.0.0.1:50052', schema: address, help: 'The flag service.' },
  qosAddress: { name: 'MLX_SERVING_QOS_ADDRESS', default: '127.0.0.1:50053', schema: address, help: 'The quality of service controller.' },
  canaryAddress: { name: 'MLX_SERVING_CANARY_ADDRESS', default: '127.0.0.1:50054', schema: address, help: 'The canary controller.' },
} as const;

export type AdminConfig = EnvironmentValues<typeof environment>;
