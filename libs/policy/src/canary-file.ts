import { z } from 'zod';
import { percentage } from './percentage.ts';
import { STATISTICAL_TRIGGERS, type StatisticalTrigger } from './verdicts/metrics-judged.ts';

export const canaryRouting = z.strictObject({
  enabled: z.boolean(),
  rolloutPercentage: percentage,
  strategy: z.enum(['hash', 'random']),
  /** `user_id`, `request_id`, `tenant`, `model`, or `header:` and the name of a header. */
  hashKey: z.string().regex(/^(user_id|request_id|tenant|model|header:[a-z0-9-]{1,64})$/, "must be user_id, request_id, tenant, model or header:<name in lower case>"),
  /** Hashed as `key:hashSeed`. */
  hashSeed: z.string().min(1).default('canary'),
  enableCache: z.boolean(),
  cacheSize: z.number().int().min(1).max(1_000_000),
  /** What the canary's workers are asked for. Default: what the request asks for. */
  model: z.string().max(256).default(''),
  /** A share of the baseline's answered requests is repeated at the canary; its answers are discarded. */
  shadow: z.strictObject({ percentage: percentage.default(0), maxConcurrent: z.number().int().min(1).max(1_000).default(2) }).prefault({}),
});

export const rollbackTrigger = z.strictObject({
  name: z.enum(['memory_leak', 'crash_rate', ...(Object.keys(STATISTICAL_TRIGGERS) as StatisticalTrigger[])]),
  /** Times the baseline's; MB an hour of `memory_leak`; exits a request of `crash_rate`. */
  threshold: z.number().min(0),
  severity: z.enum(['critical', 'warning']),
});

export const canaryWebhook = z.strictObject({
  /** `before` may refuse: any answer but 2xx keeps the stage. `after` is told, and its answer does not matter. */
  when: z.enum(['before', 'after']),
  url: z.url({ protocol: /^https?$/ }),
  /** A file whose text signs the body by HMAC-SHA256. */
  secretFile: z.string().min(1),
  timeoutMs: z.number().int().min(100).max(60_000).default(5_000),
});

/** `config/canary.yaml` (SPEC C1–C3). */
export const canaryFile = z.strictObject({
  canary: canaryRouting,
  rollback: z.strictObject({
    enabled: z.boolean(),
    cooldownMs: z.number().int().min(0),
    gradual: z.boolean(),
    /** At 0 % the canary's requests that have no token yet start anew at the baseline. */
    moveUnstarted: z.boolean().default(false),
    triggers: z.array(rollbackTrigger),
    /** Excess bad requests of the canary at which it is stopped before the test is sure. */
    blastRadius: z.number().int().min(1).default(100),
  }),
  monitoring: z.strictObject({ enabled: z.boolean(), intervalMs: z.number().int().min(100), retentionHours: z.number().min(0.01) }),
  webhooks: z.array(canaryWebhook).max(20).default([]),
});

export type CanaryFile = z.infer<typeof canaryFile>;
