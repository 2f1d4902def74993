import { z } from 'zod';
import { qosMonitor } from './slo/slo-policy.ts';

/** A timer holds 24.8 days, a deadline of gRPC 27.7 hours: what is beyond would be over at once rather than never. */
const LONGEST_MS = 24 * 3_600_000;
const milliseconds = z.number().int().min(1).max(LONGEST_MS);
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

/** Bounds of the gateway's admission. */
export const governor = z.strictObject({
  /** Most requests that one gateway has at its workers at one time; the others wait. */
  max_concurrent_streams: z.number().int().min(1),
  /** Most requests that wait in one gateway; beyond it a request is refused with 429. */
  max_queued_requests: z.number().int().min(0),
  /** Share of the limit that batch and background requests leave free, so that more urgent ones need not wait for a place. */
  urgent_share: share.max(0.9).default(0.25),
  /** How long the limit that qos lends holds without renewal. */
  lease_ttl_ms: milliseconds,
  /** `gradient` learns the limit from how the time to the first token grows; `fixed` is the setting itself. The flag adaptive_governor puts a PID controller in place of either. */
  algorithm: z.enum(['fixed', 'gradient']).default('fixed'),
  /** What the PID controller aims at: P95 of the time to the first token at the worker. */
  target_ttft_ms: milliseconds.default(400),
  /** Least limit that a learning governor may come to. */
  min_concurrent_streams: z.number().int().min(1).default(2),
});

/** Bounds of one request. */
export const requestLimits = z.strictObject({
  /** Longest time from arrival to the last token. */
  timeout_ms: milliseconds,
  /** Longest time that a streaming client may read nothing; then its request is cancelled. */
  write_stall_timeout_ms: milliseconds.default(30_000),
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
  drain_grace_ms: z.number().int().min(0).max(LONGEST_MS).default(10_000),
});

/** What a request's decision hangs on: the first of the sources that it has, else its id. */
export const routing = z.strictObject({
  key: z.array(z.enum(['user', 'header', 'api_key'])).default(['user', 'header']),
  /** The header of the source `header`. */
  header: z.string().regex(/^[a-z0-9-]{1,64}$/, 'must be a name in lower case').default('x-user-id'),
});

/** Which web pages of other origins may call the gateway. */
export const cors = z.strictObject({
  /** Such as `https://app.example`, or `*`. */
  origins: z.array(z.union([z.literal('*'), z.url()])).max(100).default([]),
  max_age_s: z.number().int().min(0).max(86_400).default(600),
});

/** `config/runtime.yaml`. */
export const runtimeFile = z.strictObject({
  ttft_accelerator: ttftAccelerator,
  qos_monitor: qosMonitor,
  governor,
  requests: requestLimits,
  balancing: balancing.prefault({}),
  failure: failure.prefault({}),
  routing: routing.prefault({}),
  cors: cors.prefault({}),
});

export type RuntimeFile = z.infer<typeof runtimeFile>;
