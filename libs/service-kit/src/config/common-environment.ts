import { flag, port, text } from './environment-schemas.ts';

/** The variables that every service has. */
export function commonEnvironment(operationsPort: { name: string; default: string }) {
  return {
    host: { name: 'MLX_SERVING_HOST', default: '127.0.0.1', schema: text, help: 'Address to bind to.' },
    trustedNetwork: {
      name: 'MLX_SERVING_TRUSTED_NETWORK',
      default: 'false',
      schema: flag,
      help: 'Set to true to bind to more than loopback without TLS, on a network that only this system uses.',
    },
    operationsPort: { ...operationsPort, schema: port, help: 'Port of /metrics, /health/live and /health/ready.' },
    stateDirectory: { name: 'MLX_SERVING_STATE_DIR', default: '.mlx-serving', schema: text, help: 'Where snapshots and the admin token are kept.' },
    configDirectory: { name: 'MLX_SERVING_CONFIG_DIR', default: 'config', schema: text, help: 'Where feature-flags.yaml, runtime.yaml and canary.yaml are.' },
  } as const;
}
