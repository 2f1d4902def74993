export { createApp, type QosApp } from './app.ts';
export { environment, type QosConfig } from './config.ts';
export { errors } from './errors.ts';
export { metricsTable } from './metrics.ts';
