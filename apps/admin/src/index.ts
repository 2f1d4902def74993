export { type AdminApp, createApp } from './app.ts';
export { type AdminConfig, environment } from './config.ts';
export { errors } from './errors.ts';
export { metricsTable } from './metrics.ts';
