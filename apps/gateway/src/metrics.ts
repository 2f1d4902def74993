import { createMetrics, type Metrics } from '@mlx-serving/service-kit';

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

/** Every metric of the gateway. */
export const metricsTable = {
  requests: {
    type: 'counter',
    name: 'mlx_serving_gateway_requests_total',
    help: 'Finished requests by route and HTTP status (gRPC: the status code name).',
    labels: ['route', 'status'],
  },
  generations: {
    type: 'counter',
    name: 'mlx_serving_gateway_generations_total',
    help: 'Finished generations by variant and outcome.',
    labels: ['variant', 'outcome'],
  },
  ttft: {
    type: 'histogram',
    name: 'mlx_serving_gateway_ttft_seconds',
    help: 'Time from the arrival of a request to its first token.',
    labels: ['variant'],
    buckets: SECONDS,
  },
  duration: {
    type: 'histogram',
    name: 'mlx_serving_gateway_duration_seconds',
    help: 'Time from the arrival of a generation to its end.',
    labels: ['variant'],
    buckets: SECONDS,
  },
  tokens: { type: 'counter', name: 'mlx_serving_gateway_tokens_total', help: 'Tokens of finished generations.', labels: ['kind'] },
  stalledClients: { type: 'counter', name: 'mlx_serving_gateway_stalled_clients_total', help: 'Streams that were cancelled because their client read nothing for too long.' },
  queueDepth: { type: 'gauge', name: 'mlx_serving_gateway_queue_depth', help: 'Requests that wait for admission.' },
  queueWait: { type: 'histogram', name: 'mlx_serving_gateway_queue_seconds', help: 'Time that admitted requests waited for their place.', labels: ['priority'], buckets: SECONDS },
  activeStreams: { type: 'gauge', name: 'mlx_serving_gateway_active_streams', help: 'Requests that are at a worker.' },
  concurrencyLimit: { type: 'gauge', name: 'mlx_serving_gateway_concurrency_limit', help: 'Most requests at the workers at one time, as it is in force.' },
  governor: { type: 'gauge', name: 'mlx_serving_gateway_governor', help: '1 for what governs the limit: fixed, gradient or pid.', labels: ['kind'], together: 'max' },
  shedShare: { type: 'gauge', name: 'mlx_serving_gateway_shed_share', help: 'Share of new requests that a controller has refused at once.', labels: ['priority'], together: 'max' },
  forcedCircuits: { type: 'gauge', name: 'mlx_serving_gateway_forced_circuits', help: '1 while a controller keeps work away from the worker.', labels: ['worker'], together: 'max' },
  continuations: { type: 'counter', name: 'mlx_serving_gateway_continuations_total', help: 'Answers that went on at another worker after their first token.' },
  retriesRefused: { type: 'counter', name: 'mlx_serving_gateway_refused_retries_total', help: 'Retries and continuations that the retry budget did not allow.' },
  cutStreams: { type: 'counter', name: 'mlx_serving_gateway_cut_streams_total', help: 'Requests that a stop ended because its grace was over.' },
  balanced: { type: 'counter', name: 'mlx_serving_gateway_balanced_total', help: 'Choices among several workers, by what decided: prefix, load, or overload of the worker that has the prefix.', labels: ['by'] },
  balancingPanic: { type: 'gauge', name: 'mlx_serving_gateway_balancing_panic', help: '1 while every circuit is open and requests go to workers all the same.', labels: ['variant'], together: 'max' },
  workerEvents: { type: 'counter', name: 'mlx_serving_gateway_worker_events_total', help: 'Changes of a circuit, and workers found stuck or answering again.', labels: ['event'] },
  retries: { type: 'counter', name: 'mlx_serving_gateway_worker_retries_total', help: 'Requests that went to a second worker before their first token.' },
  servingWorkers: { type: 'gauge', name: 'mlx_serving_gateway_serving_workers', help: 'Workers that serve.', labels: ['variant'], together: 'min' },
  linksUp: { type: 'gauge', name: 'mlx_serving_gateway_links_up', help: '1 while the link to the controller is up.', labels: ['link'], together: 'min' },
  droppedReports: { type: 'counter', name: 'mlx_serving_gateway_dropped_reports_total', help: 'Reports that were dropped because a link was down too long.', labels: ['link'] },
  flagsRevision: { type: 'gauge', name: 'mlx_serving_gateway_flags_revision', help: 'Revision of the flag snapshot in force.', together: 'min' },
  routingRevision: { type: 'gauge', name: 'mlx_serving_gateway_routing_revision', help: 'Revision of the routing table in force.', together: 'min' },
  routingCache: { type: 'counter', name: 'mlx_serving_gateway_routing_cache_total', help: 'Looks for a key among the remembered places, by result: hit or miss.', labels: ['result'] },
  routingLeaseEnded: { type: 'gauge', name: 'mlx_serving_gateway_routing_lease_ended', help: '1 while the canary service was not heard for too long, so that everything goes to the baseline.', together: 'max' },
  shadowRequests: {
    type: 'counter',
    name: 'mlx_serving_gateway_shadow_requests_total',
    help: 'Answered requests that were repeated at the canary, by outcome: ok, different (other tokens), failed, or left_out at the cap.',
    labels: ['outcome'],
  },
  movedRequests: { type: 'counter', name: 'mlx_serving_gateway_moved_requests_total', help: 'Requests that left a canary that was rolled back before their first token.' },
  flagChecks: { type: 'counter', name: 'feature_flag_checks_total', help: 'Decisions about flags, by flag and outcome.', labels: ['feature', 'enabled'] },
  flagEvaluation: {
    type: 'histogram',
    name: 'feature_flag_evaluation_duration_ms',
    help: 'Time of one evaluation of all flags for a request, or of one for a client; one evaluation in 16 is measured.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
  },
  refusedConfigurations: { type: 'counter', name: 'mlx_serving_gateway_refused_configurations_total', help: 'Changed configuration files that were refused.' },
} as const;

export type GatewayMetrics = Metrics<typeof metricsTable>;

export const createGatewayMetrics = (): GatewayMetrics => createMetrics(metricsTable);
