import { metrics, propagation, trace } from '@opentelemetry/api';

/** Variables of OpenTelemetry that name a receiver: without one of them nothing is collected. */
const ENDPOINTS = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT'] as const;

let startedWith: NodeJS.ProcessEnv = {};

/** The variables with which this process collects; none while it does not. */
export function telemetryEnvironment(): NodeJS.ProcessEnv {
  return startedWith;
}

/** Whether anything is sent to a receiver of OpenTelemetry. */
export function exportsTelemetry(environment: NodeJS.ProcessEnv): boolean {
  return environment['OTEL_SDK_DISABLED'] !== 'true' && ENDPOINTS.some((name) => environment[name]);
}

/**
 * Starts what collects spans and metrics of this process and sends them over OTLP, as OpenTelemetry's own variables say
 * (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, …). Without a receiver it loads nothing,
 * and spans cost nothing. Which requests are traced is for `TraceSampler` to say.
 * @returns sends what waits, and ends
 */
export async function startTelemetry(service: string, environment: NodeJS.ProcessEnv): Promise<() => Promise<void>> {
  if (!exportsTelemetry(environment)) return async () => undefined;
  startedWith = environment;
  const [core, traces, resources, metricsSdk, traceExporter, metricExporter] = await Promise.all([
    import('@opentelemetry/core'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/sdk-metrics'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/exporter-metrics-otlp-http'),
  ]);
  const named = resources.resourceFromAttributes({ 'service.namespace': 'mlx-serving', 'service.name': environment['OTEL_SERVICE_NAME'] || `mlx-serving-${service}` });
  const resource = named.merge(resources.detectResources({ detectors: [resources.envDetector] }));
  const spans = new traces.BatchSpanProcessor({ exporter: new traceExporter.OTLPTraceExporter(), scheduledDelayMillis: milliseconds(environment['OTEL_BSP_SCHEDULE_DELAY'], 5_000) });
  const tracing = new traces.TracerProvider({ resource, sampler: new traces.AlwaysOnSampler(), spanProcessors: [spans] });
  const exportIntervalMillis = milliseconds(environment['OTEL_METRIC_EXPORT_INTERVAL'], 60_000);
  const reader = new metricsSdk.PeriodicExportingMetricReader({ exporter: new metricExporter.OTLPMetricExporter(), exportIntervalMillis, exportTimeoutMillis: Math.min(exportIntervalMillis, 30_000) });
  const metering = new metricsSdk.MeterProvider({ resource, readers: [reader] });
  trace.setGlobalTracerProvider(tracing);
  metrics.setGlobalMeterProvider(metering);
  propagation.setGlobalPropagator(new core.W3CTraceContextPropagator());
  return async () => void (await Promise.allSettled([tracing.shutdown(), metering.shutdown()]));
}

function milliseconds(text: string | undefined, otherwise: number): number {
  const value = Number(text || otherwise);
  return Number.isFinite(value) && value > 0 ? value : otherwise;
}
