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
export { governor, requestLimits, type RuntimeFile, runtimeFile, ttftAccelerator } from './runtime-file.ts';
export { type AlertEffect, EVERY_CHANNEL } from './remediation/alert-book.ts';
export { type ActionRecord, type Actuator, EMPTY_STATE, type ExecutorState, type OpenAlert, type Outcome, type RemediationLease, type Rule, RULES } from './remediation/executor-state.ts';
export { isLoop } from './remediation/loop-detection.ts';
export { type ExecutorInput, RemediationExecutor, workerOf } from './remediation/remediation-executor.ts';
export { type Evaluation, SloController, type Surroundings } from './remediation/slo-controller.ts';
export { FixedLimit } from './governor/fixed-limit.ts';
export { GradientLimit } from './governor/gradient-limit.ts';
export { type LimitAlgorithm, type LimitBounds, type LimitSample } from './governor/limit-algorithm.ts';
export { PidLimit, type PidSettings } from './governor/pid-limit.ts';
export { MemoryCeiling, type MemoryReading } from './governor/memory-ceiling.ts';
export { checkPolicies, type PolicyProblem, problemsOf } from './slo/check-policies.ts';
export { type Burn, BURN_RATES, ErrorBudget, type KeptBudget } from './slo/error-budget.ts';
export { type Verdict } from './slo/judge-slo.ts';
export { MetricWindow, type Percentiles, type RequestSample, type WindowView } from './slo/metric-window.ts';
export { SloEvaluator, type SloVerdict } from './slo/slo-evaluator.ts';
export { needsPercentile, sloPercentile } from './slo/slo-percentile.ts';
export {
  evaluatorSettings,
  executorSettings,
  type QosMonitorInput,
  type QosMonitorSettings,
  qosMonitor,
  type Remediation,
  remediation,
  type Slo,
  type SloMetric,
  sloMetric,
  slo,
  type SloPolicy,
  sloPolicy,
} from './slo/slo-policy.ts';
export { BaselineSample, LEAST_BASELINE_VALUES } from './verdicts/baseline-sample.ts';
export { type Excess, exceedsBlastRadius, excessOf } from './verdicts/blast-radius.ts';
export { estimatedRatio, type EventCounts, logEValue, logEValues, logMean, logNotWorse, RATIOS } from './verdicts/e-process.ts';
export { DEFAULT_BLOCK_MS } from './verdicts/steadiness.ts';
export { DEFAULT_FLOOR, DEFAULT_MARGIN, Evidence, FIRST_REQUESTS } from './verdicts/evidence.ts';
export { type EvidenceOptions, type KeptEvidence } from './verdicts/kept-evidence.ts';
export { DEFAULT_ALPHA, DEFAULT_BLAST_RADIUS, DEFAULT_ERROR_FLOOR, type Finding, judge, type Judgement, type JudgedTrigger, type JudgeSettings } from './verdicts/judge.ts';
export { LEAST_LEAK_SAMPLES, LEAST_MEMORY_SAMPLES, MOST_LEAK_SAMPLES, type MemorySample, type MemorySlope, memorySlope } from './verdicts/memory-slope.ts';
export { type Observation, PLAIN_EVENTS, STATISTICAL_TRIGGERS, type StatisticalTrigger, TAIL_METRICS, TAIL_QUANTILES, type TailMetric } from './verdicts/metrics-judged.ts';
export { CRASH_ALPHA, exitsTooOften, logRateAbove, logRateBelow, type RateCounts } from './verdicts/rate-test.ts';
export { logSampleRatioMismatch } from './verdicts/sample-ratio.ts';
export { type ExpectedRollout, expectRequests } from './verdicts/expected-requests.ts';
