export { createApp, type GatewayApp } from './app.ts';
export { environment, type GatewayConfig, replicaIdOf } from './config.ts';
export { decide, type DecisionRequest, type FlagState, type RoutingState } from './decision/decide.ts';
export { errors } from './errors.ts';
export { metricsTable } from './metrics.ts';
