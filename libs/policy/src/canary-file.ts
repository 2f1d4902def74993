import { z } from 'zod';
import { percentage } from './percentage.ts';

export const canaryRouting = z.strictObject({
  enabled: z.boolean(),
  rolloutPercentage: percentage,
  strategy: z.enum(['hash', 'random']),
  hashKey: z.enum(['user_id', 'request_id']),
  /** Hashed as `key:hashSeed`. */
  hashSeed: z.string().min(1).default('canary'),
  enableCache: z.boolean(),
  cacheSize: z.number().int().min(1).max(1_000_000),
});

export const rollbackTrigger = z.strictObject({
  name: z.enum(['high_error_rate', 'high_latency', 'memory_leak', 'crash_rate']),
  threshold: z.number().min(0),
  severity: z.enum(['critical', 'warning']),
});

/** `config/canary.yaml` (SPEC C1–C3). */
export const canaryFile = z.strictObject({
  canary: canaryRouting,
  rollback: z.strictObject({
    enabled: z.boolean(),
    cooldownMs: z.number().int().min(0),
    gradual: z.boolean(),
    triggers: z.array(rollbackTrigger),
  }),
  monitoring: z.strictObject({ enabled: z.boolean(), intervalMs: z.number().int().min(100), retentionHours: z.number().min(0.01) }),
});

export type CanaryFile = z.infer<typeof canaryFile>;
