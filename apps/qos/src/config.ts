import { DEFAULT_ENVIRONMENT, environmentName } from '@mlx-serving/policy';
import { address, commonEnvironment, type EnvironmentValues, port, text, watchedWorkers } from '@mlx-serving/service-kit';
import { z } from 'zod';

const optional = z.string().default('');
const optionalAddress = z.union([z.literal('none'), address]);
const httpUrl = z.union([z.literal(''), z.url({ protocol: /^https?$/, error: 'must be an http(s) address' })]).default('');

/** Every environment variable of this service. */
export const environment = {
  ...commonEnvironment({ name: 'MLX_SERVING_QOS_OPERATIONS_PORT', default: '9103' }),
  grpcPort: { name: 'MLX_SERVING_QOS_GRPC_PORT', default: '50053', schema: port, help: 'Port of the gRPC service Qos.' },
  workers: { name: 'MLX_SERVING_WORKERS', default: '127.0.0.1:50061', schema: watchedWorkers, help: 'Workers of the baseline to watch, host:port, comma-separated.' },
  canaryWorkers: { name: 'MLX_SERVING_CANARY_WORKERS', schema: watchedWorkers, help: 'Workers of the canary to watch, host:port, comma-separated.' },
  canaryAddress: { name: 'MLX_SERVING_CANARY_ADDRESS', default: '127.0.0.1:50054', schema: optionalAddress, help: 'The canary service, which says whether a variant is being judged; none: there is none.' },
  flagsAddress: { name: 'MLX_SERVING_FLAGS_ADDRESS', default: '127.0.0.1:50052', schema: optionalAddress, help: 'The flag service: qos_monitor and its parts must be on for this replica; none: they are.' },
  replicaId: {
    name: 'MLX_SERVING_REPLICA_ID',
    default: '',
    schema: z.string().max(128),
    help: 'Name under which this replica acts. Default: host and gRPC port, so that a restart takes up at once what it left.',
  },
  environment: { name: 'MLX_SERVING_ENV', default: DEFAULT_ENVIRONMENT, schema: environmentName, help: 'Whose values of the flags hold, such as production.' },
  redisUrl: { name: 'REDIS_URL', default: 'redis://127.0.0.1:16379', schema: text, help: 'Where leases, cooldowns and open alerts are kept, and which replica acts.' },
  redisPrefix: { name: 'MLX_SERVING_REDIS_PREFIX', default: '', schema: z.string(), help: 'Put before every key in Redis.' },
  slackUrl: { name: 'MLX_SERVING_SLACK_WEBHOOK_URL', schema: httpUrl, help: "Slack's incoming webhook for alerts of channel slack. A secret." },
  slackUrlFile: { name: 'MLX_SERVING_SLACK_WEBHOOK_URL_FILE', schema: optional, help: 'A file that holds it instead.' },
  pagerdutyKey: { name: 'MLX_SERVING_PAGERDUTY_ROUTING_KEY', schema: optional, help: 'Routing key of a PagerDuty Events v2 integration, for alerts of channel pagerduty. A secret.' },
  pagerdutyKeyFile: { name: 'MLX_SERVING_PAGERDUTY_ROUTING_KEY_FILE', schema: optional, help: 'A file that holds it instead.' },
  pagerdutyUrl: { name: 'MLX_SERVING_PAGERDUTY_URL', default: 'https://events.pagerduty.com/v2/enqueue', schema: httpUrl, help: 'Where PagerDuty takes events.' },
  webhookUrl: { name: 'MLX_SERVING_ALERT_WEBHOOK_URL', schema: httpUrl, help: 'Where alerts of channel webhook are posted. A secret.' },
  webhookUrlFile: { name: 'MLX_SERVING_ALERT_WEBHOOK_URL_FILE', schema: optional, help: 'A file that holds it instead.' },
} as const;

export type QosConfig = EnvironmentValues<typeof environment>;
