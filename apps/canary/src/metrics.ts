import { createMetrics, type Metrics, type MetricsTable } from '@mlx-serving/service-kit';

/** Every metric of this service. `variant` is `baseline` or `canary`. */
export const metricsTable = {
  requests: {
    type: 'counter',
    name: 'mlx_serving_canary_requests_total',
    help: 'Finished requests, well-ended or failed by a fault of the server, by variant.',
    labels: ['variant'],
  },
  latencyP95: {
    type: 'gauge',
    name: 'mlx_serving_canary_latency_p95_ms',
    help: 'P95 of the latency of well-ended requests over monitoring.retentionHours, in milliseconds. Absent while there is none.',
    labels: ['variant'],
  },
  errorRate: {
    type: 'gauge',
    name: 'mlx_serving_canary_error_rate',
    help: 'Share of the finished requests over monitoring.retentionHours that failed by a fault of the server.',
    labels: ['variant'],
  },
  rollbacks: {
    type: 'counter',
    name: 'mlx_serving_canary_rollbacks_total',
    help: 'Rollbacks of the canary, by reason: the trigger that fired, `manual` or `aborted`.',
    labels: ['reason'],
  },
  rollbackTriggers: {
    type: 'counter',
    name: 'mlx_serving_canary_rollback_triggers_total',
    help: 'Rollback triggers that fired, by trigger: critical ones, which roll back, and warnings, each once a stage.',
    labels: ['trigger'],
  },
  counterfactualRollbacks: {
    type: 'counter',
    name: 'mlx_serving_canary_counterfactual_rollbacks_total',
    help: 'Looks at which thresholds on bare ratios would have rolled back. Nothing acts on it.',
  },
  sampleRatioMismatch: {
    type: 'gauge',
    name: 'mlx_serving_canary_sample_ratio_mismatch',
    help: 'Whether requests fall to the variants otherwise than the share says, so that no comparison can be trusted: 1 or 0.',
  },
  acting: { type: 'gauge', name: 'mlx_serving_canary_acting', help: 'Whether this replica judges: 1 or 0.' },
  linkedGateways: { type: 'gauge', name: 'mlx_serving_canary_linked_gateways', help: 'Gateways that are linked now.' },
  routingRevision: { type: 'gauge', name: 'mlx_serving_canary_routing_revision', help: 'Revision of the routing table in force.' },
  rolloutPercentage: {
    type: 'gauge',
    name: 'mlx_serving_canary_rollout_percentage',
    help: 'Share of the traffic that is routed to the canary, 0 to 100; 0 while it is disabled.',
  },
  shadowRequests: {
    type: 'counter',
    name: 'mlx_serving_canary_shadow_requests_total',
    help: 'Requests that were repeated at the canary and count for no verdict, by outcome: ok, different (other tokens) or failed.',
    labels: ['outcome'],
  },
  reports: { type: 'counter', name: 'mlx_serving_canary_reports_total', help: 'Stream reports that arrived, repeated ones not counted.' },
  repeatedReports: { type: 'counter', name: 'mlx_serving_canary_repeated_reports_total', help: 'Stream reports that had arrived before.' },
  droppedReports: { type: 'counter', name: 'mlx_serving_canary_dropped_reports_total', help: 'Stream reports that gateways dropped while their link was down.' },
  refusedConfigurations: { type: 'counter', name: 'mlx_serving_canary_refused_configurations_total', help: 'Changed configuration files that were refused.' },
} as const satisfies MetricsTable;

export type CanaryMetrics = Metrics<typeof metricsTable>;

export function createCanaryMetrics(): CanaryMetrics {
  return createMetrics(metricsTable);
}
