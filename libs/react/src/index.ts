export { type FeatureFlagOptions, useFeatureFlag } from './use-feature-flag.ts';
