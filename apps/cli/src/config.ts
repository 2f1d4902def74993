import { type EnvironmentValues, text } from '@mlx-serving/service-kit';
import { z } from 'zod';

/** Every environment variable of the command. */
export const environment = {
  adminUrl: { name: 'MLX_SERVING_ADMIN_URL', default: 'http://127.0.0.1:3001', schema: z.url(), help: 'Where the admin REST interface is.' },
  gatewayUrl: { name: 'MLX_SERVING_GATEWAY_URL', default: 'http://127.0.0.1:3000', schema: z.url(), help: 'Where the gateway is.' },
  stateDirectory: { name: 'MLX_SERVING_STATE_DIR', default: '.mlx-serving', schema: text, help: 'Where the admin token is.' },
  tokenFile: { name: 'MLX_SERVING_ADMIN_TOKEN_FILE', default: '', schema: z.string(), help: 'The file with the admin token. Default: admin-token in the state directory.' },
} as const;

export type CliConfig = EnvironmentValues<typeof environment>;
