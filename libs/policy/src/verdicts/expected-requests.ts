import { DEFAULT_ALPHA, DEFAULT_ERROR_FLOOR } from './judge.ts';
import { RATIOS } from './e-process.ts';
import { STATISTICAL_TRIGGERS, TAIL_QUANTILES } from './metrics-judged.ts';

/** A rollout that is thought of before it starts. */
export interface ExpectedRollout {
  /** Above 0 and below 1. */
  readonly share: number;
  readonly errorRate: number;
  readonly canaryErrorRate: number;
  /** How many times slower a slow canary would be. */
  readonly slowdown: number;
  /** Of the logarithm of the latency. Default: 0.75. */
  readonly sigma?: number;
}

/** Quantiles of the normal distribution for TAIL_QUANTILES. */
const NORMAL_QUANTILES = [0, 1.2816, 1.6449, 2.3263];

/**
 * How many requests of the canary it takes in the mean to find a slow one, to find a failing one, and to promote a good one:
 * the evidence that is needed over what a request brings. An estimate to plan with, for lognormal latencies.
 */
export function expectRequests({ share, errorRate, canaryErrorRate, slowdown, sigma = 0.75 }: ExpectedRollout): { slow: number; failing: number; promotion: number } {
  const { high_error_rate: errors, high_latency: latency } = STATISTICAL_TRIGGERS;
  const needed = (weight: number): number => Math.log((errors.weight + latency.weight) / (DEFAULT_ALPHA * weight)) + Math.log(RATIOS.length) / 2;
  const tails = NORMAL_QUANTILES.map((quantile, index) => gain(share, 1 - (TAIL_QUANTILES[index] ?? 0) / 100, upperTail(quantile - Math.log(slowdown) / sigma)));
  const shrink = Math.max(...NORMAL_QUANTILES.map((quantile, index) => gainOfFewer(share, 1 - (TAIL_QUANTILES[index] ?? 0) / 100, upperTail(quantile + Math.log(slowdown) / sigma))));
  const floorGain = Math.max(1e-6, Math.log((1 - DEFAULT_ERROR_FLOOR / 4) / (1 - DEFAULT_ERROR_FLOOR)) - errorRate * Math.log(4));
  return {
    slow: Math.ceil((needed(latency.weight) + Math.log(TAIL_QUANTILES.length) / 2) / Math.max(...tails)),
    failing: Math.ceil(needed(errors.weight) / gain(share, errorRate, canaryErrorRate)),
    promotion: Math.ceil(Math.max((Math.log(1 / DEFAULT_ALPHA) + 1.5) / shrink, (Math.log(1 / DEFAULT_ALPHA) + 1) / floorGain)),
  };
}

/** What one request of the canary adds to the logarithm of the best e-value. */
function gain(share: number, baseline: number, canary: number): number {
  return bestGain(share, baseline, canary, RATIOS);
}

function gainOfFewer(share: number, baseline: number, canary: number): number {
  return bestGain(share, baseline, canary, RATIOS.map((ratio) => 1 / ratio));
}

function bestGain(share: number, baseline: number, canary: number, ratios: readonly number[]): number {
  const events = canary + (baseline * (1 - share)) / share;
  return Math.max(1e-6, ...ratios.map((ratio) => canary * Math.log(ratio) - events * Math.log(share * ratio + 1 - share)));
}

/** The normal distribution above a value, by Abramowitz and Stegun 26.2.17: exact to 1e-7. */
function upperTail(value: number): number {
  if (value < 0) return 1 - upperTail(-value);
  const t = 1 / (1 + 0.2316419 * value);
  const series = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-value * value) / 2) / Math.sqrt(2 * Math.PI)) * series;
}
