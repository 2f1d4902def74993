export { createApp, type QosApp } from './app.ts';
export { environment, type QosConfig } from './config.ts';
export { errors } from './errors.ts';
export { evaluatePolicies, type Evidence, LEAST_SAMPLES, type SloVerdict, type Verdict } from './evaluation/evaluate-policies.ts';
export { metricsTable } from './metrics.ts';
export { type Percentiles, type WindowView } from './reports/report-window.ts';
