export { type CanaryRates, type ObservedRequest, RollbackController, type RollbackControllerOptions, type RollbackReason, type RollbackRecord } from './canary-rollback-controller.ts';
export { CanaryRouter, type CanaryRouterOptions, type CanaryRouterStats, type RouteDecision } from './canary-router.ts';
export { createEngine, type Engine, type EngineOptions, type GenerateOptions, type Message } from './engine.ts';
export { type Chunk, Generation, type GenerationDecision, type GenerationEnd } from './generation.ts';
export { InferenceError, type InferenceErrorCode } from './inference-error.ts';
export { type QueueStats, type SpeculationStats, type StageMetrics, type TtftEvents, TtftHint, TtftPipeline } from './ttft-pipeline.ts';
export { type FeatureConfig, FeatureFlagLoader, type FeatureFlagLoaderOptions, type FeatureFlagStats } from './feature-flag-loader.ts';
export { PolicyEngine, type PolicyEngineEvents } from './policy-engine.ts';
export { type CollectedMetric, type QosLogger, QosMonitor, type QosMonitorEvents, type QosMonitorOptions, type QosMonitorSurroundings, type QosTelemetry, type RemediationResult, type SloEvaluation } from './qos-monitor.ts';
