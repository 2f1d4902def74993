import { createMetrics, type Metrics, type MetricsTable } from '@mlx-serving/service-kit';

/** Every metric of this service. `policy` and `worker` come from the configuration, so they are bounded by it. */
export const metricsTable = {
  sloViolations: {
    type: 'counter',
    name: 'mlx_serving_qos_slo_violations_total',
    help: 'SLOs that an evaluation found violated.',
    labels: ['policy', 'severity'],
  },
  evaluations: { type: 'counter', name: 'mlx_serving_qos_evaluations_total', help: 'Evaluations of a policy.', labels: ['policy'] },
  remediations: {
    type: 'counter',
    name: 'mlx_serving_qos_remediations_total',
    help: 'Remediations that were executed, by action and by whether they took effect.',
    labels: ['action', 'success'],
  },
  ttftP95: {
    type: 'gauge',
    name: 'mlx_serving_qos_ttft_p95_ms',
    help: 'P95 of the time to the first token over the window, in milliseconds. Absent while the window has no sample.',
    labels: ['window'],
  },
  ttftP99: {
    type: 'gauge',
    name: 'mlx_serving_qos_ttft_p99_ms',
    help: 'P99 of the time to the first token over the window, in milliseconds. Absent while the window has no sample.',
    labels: ['window'],
  },
  errorRate: {
    type: 'gauge',
    name: 'mlx_serving_qos_error_rate',
    help: 'Share of the finished requests over the window that failed by a fault of the server.',
    labels: ['window'],
  },
  reports: { type: 'counter', name: 'mlx_serving_qos_reports_total', help: 'Stream reports that arrived.' },
  droppedReports: { type: 'counter', name: 'mlx_serving_qos_dropped_reports_total', help: 'Stream reports that gateways dropped while their link was down.' },
  duplicateReports: { type: 'counter', name: 'mlx_serving_qos_duplicate_reports_total', help: 'Stream reports that had come already, and were left out.' },
  rejectedSamples: { type: 'counter', name: 'mlx_serving_qos_rejected_samples_total', help: 'Reports with a time that is negative or not a number.' },
  sloVerdict: { type: 'gauge', name: 'mlx_serving_qos_slo_verdict', help: '1 for the verdict on an SLO: ok, violated, insufficient_data or stale.', labels: ['policy', 'slo', 'verdict'] },
  actions: {
    type: 'counter',
    name: 'mlx_serving_qos_actions_total',
    help: 'What came of remediations: executed, would_have, withheld, undone, ran_out, frozen, alerted or resolved.',
    labels: ['action', 'outcome'],
  },
  alerts: { type: 'counter', name: 'mlx_serving_qos_alerts_total', help: 'Alerts by channel: sent, resolved, failed, dropped or not_configured.', labels: ['channel', 'outcome'] },
  acting: { type: 'gauge', name: 'mlx_serving_qos_acting', help: '1 while this replica acts, else 0.' },
  frozenActuators: { type: 'gauge', name: 'mlx_serving_qos_frozen_actuators', help: 'Actuators that went in circles and are frozen at their own setting.' },
  linkedGateways: { type: 'gauge', name: 'mlx_serving_qos_linked_gateways', help: 'Gateways that are linked now.' },
  leases: {
    type: 'gauge',
    name: 'mlx_serving_qos_leases',
    help: 'Leases that are lent now, by whether the gateway has acknowledged them.',
    labels: ['acknowledged'],
  },
  refusedConfigurations: { type: 'counter', name: 'mlx_serving_qos_refused_configurations_total', help: 'Changed configuration files that were refused.' },
  workerConnected: { type: 'gauge', name: 'mlx_serving_qos_worker_connected', help: '1 while the statistics of a worker arrive, else 0.', labels: ['worker'] },
  workerRunning: { type: 'gauge', name: 'mlx_serving_qos_worker_running_requests', help: 'Requests that a worker generates for.', labels: ['worker'] },
  workerQueued: { type: 'gauge', name: 'mlx_serving_qos_worker_queued_requests', help: 'Requests that wait in a worker.', labels: ['worker'] },
  workerResidentMemory: {
    type: 'gauge',
    name: 'mlx_serving_qos_worker_resident_memory_bytes',
    help: 'Memory of the process of a worker.',
    labels: ['worker'],
  },
  workerActiveMemory: {
    type: 'gauge',
    name: 'mlx_serving_qos_worker_active_memory_bytes',
    help: 'Memory that MLX has allocated in a worker and not yet freed.',
    labels: ['worker'],
  },
} as const satisfies MetricsTable;

export type QosMetrics = Metrics<typeof metricsTable>;

export function createQosMetrics(): QosMetrics {
  return createMetrics(metricsTable);
}
