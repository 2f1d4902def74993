export { type CanaryFile, canaryFile, canaryRouting, canaryWebhook, rollbackTrigger } from './canary-file.ts';
export {
  checkFeatureFlagsFile,
  emergencySwitches,
  type FeatureFlagsFile,
  featureFlagsFile,
  findCircle,
  flagsOfFile,
  observabilitySettings,
  segmentEntry,
  segmentsOfFile,
} from './feature-flags-file.ts';
export {
  DEFAULT_ENVIRONMENT,
  environmentName,
  type FlagConfig,
  flagConfig,
  flagInEnvironment,
  flagName,
  type FlagOverrides,
  flagOverrides,
  parentOf,
  referencesOf,
  RESERVED_NAMES,
} from './flag-config.ts';
export { readInstant } from './flag-instant.ts';
export { compilePattern, MAX_MATCHED_LENGTH, MAX_PATTERN_LENGTH } from './flag-pattern.ts';
export { type FlagRule, flagRule, RULE_OPERATORS, type RuleOperator } from './flag-rule.ts';
export { type SegmentDefinition, segmentDefinition, segmentName } from './flag-segment.ts';
export { type FlagVariant, flagVariant, flagVariants, variantCuts } from './flag-variant.ts';
export { compareVersions, readVersion, type Version } from './flag-version.ts';
export { percentage } from './percentage.ts';
export { FLAG_REASONS, type FlagReason, type StandardErrorCode, type StandardReason, type Variant, VARIANT_REASONS, type VariantReason } from './reasons.ts';
export { governor, qosMonitor, remediation, requestLimits, type RuntimeFile, runtimeFile, slo, type SloPolicy, sloPolicy, ttftAccelerator } from './runtime-file.ts';
export { BaselineSample, LEAST_BASELINE_VALUES } from './verdicts/baseline-sample.ts';
export { exceedsBlastRadius, excessBadRequests } from './verdicts/blast-radius.ts';
export { estimatedRatio, type EventCounts, logEValue, logEValues, logMean, logNotWorse, RATIOS } from './verdicts/e-process.ts';
export { DEFAULT_BLOCK_MS } from './verdicts/steadiness.ts';
export { DEFAULT_FLOOR, DEFAULT_MARGIN, Evidence, type EvidenceOptions, FIRST_REQUESTS, type KeptEvidence } from './verdicts/evidence.ts';
export { DEFAULT_ALPHA, DEFAULT_BLAST_RADIUS, DEFAULT_ERROR_FLOOR, type Finding, judge, type Judgement, type JudgedTrigger, type JudgeSettings } from './verdicts/judge.ts';
export { LEAST_MEMORY_SAMPLES, type MemorySample, type MemorySlope, memorySlope } from './verdicts/memory-slope.ts';
export { type Observation, PLAIN_EVENTS, STATISTICAL_TRIGGERS, type StatisticalTrigger, TAIL_METRICS, TAIL_QUANTILES, type TailMetric } from './verdicts/metrics-judged.ts';
export { logRateAbove, logRateBelow, type RateCounts } from './verdicts/rate-test.ts';
export { logSampleRatioMismatch } from './verdicts/sample-ratio.ts';
export { type ExpectedRollout, expectRequests } from './verdicts/expected-requests.ts';
