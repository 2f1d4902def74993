export { type CanaryApp, createApp } from './app.ts';
export { comparisonStatus, type ComparisonStatus, LEAST_REQUESTS } from './comparison/comparison-status.ts';
export { type CanaryConfig, environment } from './config.ts';
export { errors } from './errors.ts';
export { metricsTable } from './metrics.ts';
export { type RoutingStore } from './routing/routing-store.ts';
