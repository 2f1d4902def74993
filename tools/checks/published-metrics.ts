/** Metrics whose names and labels users know from the documentation; they are kept exactly (SPEC F26, Q6, C6). */
export const publishedMetrics: Readonly<Record<string, readonly string[]>> = {
  mlx_serving_feature_flags_decisions_total: ['feature', 'enabled'],
  mlx_serving_feature_flags_rollout_percentage: ['feature'],
  mlx_serving_feature_flags_kill_switch: ['value'],
  mlx_serving_qos_slo_violations_total: ['policy', 'severity'],
  mlx_serving_qos_remediations_total: ['action', 'success'],
  mlx_serving_qos_evaluations_total: ['policy'],
  mlx_serving_qos_ttft_p95_ms: ['window'],
  mlx_serving_qos_ttft_p99_ms: ['window'],
  mlx_serving_qos_error_rate: ['window'],
  mlx_serving_canary_requests_total: ['variant'],
  mlx_serving_canary_latency_p95_ms: ['variant'],
  mlx_serving_canary_error_rate: ['variant'],
  mlx_serving_canary_rollbacks_total: ['reason'],
  mlx_serving_canary_rollback_triggers_total: ['trigger'],
};
