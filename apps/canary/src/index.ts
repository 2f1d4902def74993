export { type CanaryApp, createApp } from './app.ts';
export { type CanaryConfig, environment } from './config.ts';
export { errors } from './errors.ts';
export { metricsTable } from './metrics.ts';
export { type RoutingStore } from './routing/routing-store.ts';
export { LEAST_REQUESTS, type RolloutStatus } from './rollout/rollout-message.ts';
export { type RolloutPhase, type RolloutState } from './rollout/rollout-state.ts';
export { type RolloutStore } from './rollout/rollout-store.ts';
