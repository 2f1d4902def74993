import { z } from 'zod';

const milliseconds = z.number().int().min(1);
const share = z.number().min(0).max(1);

/** `ttft_accelerator` of `config/runtime.yaml` (SPEC T1–T4). */
export const ttftAccelerator = z.strictObject({
  enabled: z.boolean(),
  warm_queue: z.strictObject({ max_size: z.number().int().min(1), ttl_ms: milliseconds, priority_by_tokens: z.boolean() }),
  speculation: z.strictObject({
    enabled: z.boolean(),
    allowlist_only: z.boolean(),
    max_candidates: z.number().int().min(1),
    min_confidence: share,
    decay_factor: share,
  }),
  kv_prep: z.strictObject({ enabled: z.boolean(), prefetch_enabled: z.boolean(), cache_warmup_ms: milliseconds }),
});

export const sloMetric = z.enum(['ttft', 'latency', 'throughput', 'error_rate', 'stream_count']);

export const slo = z.strictObject({
  name: z.string().min(1),
  metric: sloMetric,
  threshold: z.number().min(0),
  window_ms: milliseconds,
  severity: z.enum(['critical', 'warning', 'info']),
  /** 1 to 99.9. Default: read from a name such as `ttft_p95`. */
  percentile: z.number().min(1).max(99.9).optional(),
});

export const remediation = z.strictObject({
  type: z.enum(['scale_up', 'scale_down', 'alert', 'shed_load', 'circuit_break']),
  target: z.enum(['governor', 'stream_registry', 'transport']),
  params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
  reason: z.string().min(1),
});

/** One policy of the store: what must hold, and what to do when it does not (SPEC Q2). */
export const sloPolicy = z.strictObject({
  id: z.string().min(1),
  name: z.string().min(1),
  description: z.string().default(''),
  enabled: z.boolean(),
  priority: z.number().int(),
  slos: z.array(slo).min(1),
  remediations: z.array(remediation),
});

/** `qos_monitor` of `config/runtime.yaml` (SPEC Q1–Q4). */
export const qosMonitor = z.strictObject({
  enabled: z.boolean(),
  evaluator: z.strictObject({
    enabled: z.boolean(),
    evaluation_interval_ms: milliseconds,
    window_ms: milliseconds,
    tdigest_compression: z.number().int().min(20).max(1000),
  }),
  executor: z.strictObject({
    enabled: z.boolean(),
    cooldown_ms: milliseconds,
    max_executions_per_window: z.number().int().min(1),
    execution_window_ms: milliseconds,
    loop_detection_window: z.number().int().min(2),
  }),
  policy_store: z.strictObject({ policies: z.array(sloPolicy) }),
});

/** Bounds of the gateway's admission. */
export const governor = z.strictObject({
  /** Most requests that one gateway has at its workers at one time; the others wait. */
  max_concurrent_streams: z.number().int().min(1),
  /** Most requests that wait in one gateway; beyond it a request is refused with 429. */
  max_queued_requests: z.number().int().min(0),
  /** How long the limit that qos lends holds without renewal. */
  lease_ttl_ms: milliseconds,
});

/** Bounds of one request. */
export const requestLimits = z.strictObject({
  /** Longest time from arrival to the last token. */
  timeout_ms: milliseconds,
  max_body_bytes: z.number().int().min(1024),
  max_messages: z.number().int().min(1),
  /** Objects and arrays within one another in a body. */
  max_body_depth: z.number().int().min(4).max(1_000).default(64),
  /** Answers to one request: its `n` or `best_of` times its prompts. */
  max_choices: z.number().int().min(1).max(128).default(8),
});

/** Which worker gets a request. */
export const balancing = z.strictObject({
  /** Prompts with the same beginning go to the same worker. */
  prefix_affinity: z.boolean().default(true),
  /** Beginnings that one gateway remembers. */
  most_prefixes: z.number().int().min(1).max(1_000_000).default(20_000),
  /** A worker whose outstanding tokens exceed the least loaded one's by this factor and slack loses the request, whatever its cache holds. */
  overload_ratio: z.number().min(1).default(1.5),
  overload_tokens: z.number().int().min(0).default(2_048),
});

/** What happens when a worker fails. */
export const failure = z.strictObject({
  /** Whether an answer that has begun goes on at another worker. */
  continue_streams: z.boolean().default(true),
  /** Retries and continuations for each request, and how many may be saved up. */
  retry_share: share.default(0.2),
  retry_burst: z.number().int().min(0).default(10),
  /** How often a worker is asked whether it answers, and how many times in a row it may fail to. */
  probe_interval_ms: milliseconds.default(1_000),
  missed_probes: z.number().int().min(1).default(5),
  /** Failures in a row that open a worker's circuit, and for how long; twice as long each time a trial fails. */
  open_after_failures: z.number().int().min(1).default(5),
  open_ms: milliseconds.default(1_000),
  longest_open_ms: milliseconds.default(30_000),
  /** Longest time that running requests get to end when the gateway stops. */
  drain_grace_ms: z.number().int().min(0).default(10_000),
});

/** `config/runtime.yaml`. */
export const runtimeFile = z.strictObject({
  ttft_accelerator: ttftAccelerator,
  qos_monitor: qosMonitor,
  governor,
  requests: requestLimits,
  balancing: balancing.prefault({}),
  failure: failure.prefault({}),
});

export type RuntimeFile = z.infer<typeof runtimeFile>;
export type SloPolicy = z.infer<typeof sloPolicy>;
