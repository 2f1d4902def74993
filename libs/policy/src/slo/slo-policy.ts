import { z } from 'zod';

const milliseconds = z.number().int().min(1);
const share = z.number().min(0).max(1);

export const sloMetric = z.enum(['ttft', 'latency', 'throughput', 'error_rate', 'stream_count']);

/** How fast an error budget may burn: both windows must burn at `rate` times the speed that uses it up exactly. */
const burnRate = z.strictObject({ rate: z.number().positive(), long_ms: milliseconds, short_ms: milliseconds });

export const slo = z.strictObject({
  name: z.string().min(1),
  metric: sloMetric,
  threshold: z.number().min(0),
  window_ms: milliseconds,
  severity: z.enum(['critical', 'warning', 'info']),
  /** 1 to 99.9. Default: read from a name such as `ttft_p95`. */
  percentile: z.number().min(1).max(99.9).optional(),
  /** Where a violation ends. Default: the threshold made stricter by `evaluator.hysteresis`. */
  exit_threshold: z.number().min(0).optional(),
  /** Fewest samples for a verdict. Default: `evaluator.min_samples`. */
  min_samples: z.number().int().min(1).optional(),
  /** Share of the requests that must be good, such as 0.999: gives an error budget and its burn rates. Not for throughput and stream_count. */
  objective: z.number().gt(0).lt(1).optional(),
  /** Default, with an objective: 14.4 (1 h and 5 min), 6 (6 h and 30 min), 1 (3 days and 2 h). */
  burn_rates: z.array(burnRate).min(1).max(10).optional(),
});

export const remediation = z.strictObject({
  type: z.enum(['scale_up', 'scale_down', 'alert', 'shed_load', 'circuit_break']),
  target: z.enum(['governor', 'stream_registry', 'transport']),
  /** `delta` of scale_up and scale_down, `percentage` of shed_load, `duration_ms` of circuit_break, `channel` of alert. */
  params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
  reason: z.string().min(1),
});

/** One policy of the store: what must hold, and what to do when it does not (SPEC Q2). */
export const sloPolicy = z.strictObject({
  id: z.string().min(1).max(128),
  name: z.string().min(1),
  description: z.string().default(''),
  enabled: z.boolean(),
  priority: z.number().int(),
  /** Says what it would have done, and does nothing. Default: false. */
  dry_run: z.boolean().default(false),
  slos: z.array(slo).min(1),
  remediations: z.array(remediation),
});

export const evaluatorSettings = z.strictObject({
  enabled: z.boolean(),
  evaluation_interval_ms: milliseconds,
  window_ms: milliseconds,
  tdigest_compression: z.number().int().min(20).max(1000),
  /** Fewest samples that a verdict may rest on. */
  min_samples: z.number().int().min(1).default(20),
  /** A violation ends when the value is better than the threshold by this share of it. */
  hysteresis: share.default(0.1),
  /** So many of the last `evaluations_looked_at` must agree before a verdict changes. */
  evaluations_agreeing: z.number().int().min(1).max(10).default(2),
  evaluations_looked_at: z.number().int().min(1).max(10).default(3),
  /** Without a report for so long what the windows hold is `stale`: nothing is done on it. */
  stale_after_ms: milliseconds.default(15_000),
});

export const executorSettings = z.strictObject({
  enabled: z.boolean(),
  /** Nothing is done; what would have been done is kept and shown. */
  dry_run: z.boolean().default(false),
  /** Shortest time between two executions of the same action on the same target. */
  cooldown_ms: milliseconds,
  max_executions_per_window: z.number().int().min(1),
  /** Also the shortest time between two changes of direction of one actuator. */
  execution_window_ms: milliseconds,
  /** Last moves of an actuator that are searched for a loop: three changes of direction freeze it. */
  loop_detection_window: z.number().int().min(4),
  /** How long a remediation holds when nothing is heard any more. Renewed while it is needed. */
  remediation_ttl_ms: milliseconds.default(60_000),
  /** How long an SLO must be good before what was done for it is undone. */
  recovery_ms: milliseconds.default(30_000),
  /** How long an actuator that went in circles stays at its own setting. */
  freeze_ms: milliseconds.default(600_000),
  /** Greatest change of the concurrency limit in one step, as a share of the setting. */
  max_step_share: share.default(0.25),
  /** The concurrency limit stays between these shares of the setting. */
  least_limit_share: share.default(0.25),
  greatest_limit_share: z.number().min(1).max(10).default(2),
  /** Greatest share of new requests that is ever shed. */
  max_shed_share: share.default(0.9),
});

/** `qos_monitor` of `config/runtime.yaml` (SPEC Q1–Q4). */
export const qosMonitor = z.strictObject({
  enabled: z.boolean(),
  evaluator: evaluatorSettings,
  executor: executorSettings,
  policy_store: z.strictObject({ policies: z.array(sloPolicy).max(1_000) }),
});

export type Slo = z.output<typeof slo>;
export type SloMetric = Slo['metric'];
export type SloPolicy = z.output<typeof sloPolicy>;
export type Remediation = z.output<typeof remediation>;
export type QosMonitorSettings = z.output<typeof qosMonitor>;
/** As it is written: what has a default may be left out. */
export type QosMonitorInput = z.input<typeof qosMonitor>;
export type EvaluatorSettings = z.output<typeof evaluatorSettings>;
export type ExecutorSettings = z.output<typeof executorSettings>;
export type BurnRate = z.output<typeof burnRate>;
