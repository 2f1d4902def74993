import type { MetricsTable } from '@mlx-serving/service-kit';

/** A command that ends has no metrics. */
export const metricsTable = {} as const satisfies MetricsTable;
