import { createMetrics, type Metrics, type MetricsTable } from '@mlx-serving/service-kit';

/** Every metric of the admin service. */
export const metricsTable = {
  requests: { type: 'counter', name: 'mlx_serving_admin_requests_total', help: 'Answered HTTP requests.', labels: ['method', 'route', 'status'] },
  requestDuration: {
    type: 'histogram',
    name: 'mlx_serving_admin_request_duration_seconds',
    help: 'Time from the arrival of a request to the end of its answer, in seconds.',
    labels: ['route'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
  },
} as const satisfies MetricsTable;

export type AdminMetrics = Metrics<typeof metricsTable>;

export const createAdminMetrics = (): AdminMetrics => createMetrics(metricsTable);
