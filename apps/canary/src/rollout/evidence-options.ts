import { type CanaryFile, type EvidenceOptions, STATISTICAL_TRIGGERS, TAIL_METRICS, DEFAULT_FLOOR } from '@mlx-serving/policy';

/**
 * How evidence is gathered with these settings. A tail's floor lies between "alike" and its trigger's threshold, by their
 * ratios. A block of time is as long as a look is apart, so that no single look can decide about latencies.
 */
export function evidenceOptions({ rollback: { triggers }, monitoring: { intervalMs } }: CanaryFile): EvidenceOptions {
  const thresholds = new Map<string, number>(
    triggers.flatMap(({ name, threshold }) => {
      const judged = name in STATISTICAL_TRIGGERS ? STATISTICAL_TRIGGERS[name as keyof typeof STATISTICAL_TRIGGERS] : undefined;
      return judged && 'metric' in judged ? [[judged.metric, threshold]] : [];
    }),
  );
  return { floors: TAIL_METRICS.map((metric) => Math.sqrt(Math.max(1, thresholds.get(metric) ?? DEFAULT_FLOOR ** 2))), blockMs: intervalMs };
}

/** Whether what is routed has many requests: then each unit counts once for each kind of event. */
export function countsUsers({ strategy, hashKey }: CanaryFile['canary']): boolean {
  return strategy === 'hash' && hashKey !== 'request_id';
}
