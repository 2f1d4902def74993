export { type CanaryFile, canaryFile, canaryRouting, rollbackTrigger } from './canary-file.ts';
export {
  checkFeatureFlagsFile,
  emergencySwitches,
  type FeatureFlagsFile,
  featureFlagsFile,
  findCircle,
  flagsOfFile,
  observabilitySettings,
} from './feature-flags-file.ts';
export { type FlagConfig, flagConfig, flagName, parentOf } from './flag-config.ts';
export { type FlagRule, flagRule, ruleOperator } from './flag-rule.ts';
export { percentage } from './percentage.ts';
export { FLAG_REASONS, type FlagReason, type Variant, VARIANT_REASONS, type VariantReason } from './reasons.ts';
export { governor, qosMonitor, remediation, requestLimits, type RuntimeFile, runtimeFile, slo, type SloPolicy, sloPolicy, ttftAccelerator } from './runtime-file.ts';
