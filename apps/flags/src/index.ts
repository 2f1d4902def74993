export { createApp, type FlagsApp } from './app.ts';
export { environment, type FlagsConfig } from './config.ts';
export { errors } from './errors.ts';
export { metricsTable } from './metrics.ts';
