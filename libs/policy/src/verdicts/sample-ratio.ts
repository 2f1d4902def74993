import type { EventCounts } from './e-process.ts';

/** How firmly the alternative is held to lie near the share: as if so many units had been seen. */
const FIRMNESS = 100;

/**
 * The logarithm of an e-value against "units fall to the canary as its share says": sample-ratio mismatch. Two-sided and
 * always valid: a Beta mixture over the true share. A mismatch means that the split or the reports are broken, and that
 * no comparison can be trusted.
 */
export function logSampleRatioMismatch({ canary, baseline }: EventCounts, share: number): number {
  const [a, b] = [FIRMNESS * share, FIRMNESS * (1 - share)];
  return logBeta(a + canary, b + baseline) - logBeta(a, b) - canary * Math.log(share) - baseline * Math.log(1 - share);
}

function logBeta(a: number, b: number): number {
  return logGamma(a) + logGamma(b) - logGamma(a + b);
}

/** Stirling's series, after the argument was raised to where it is exact to 1e-10. */
function logGamma(value: number): number {
  let [x, shift] = [value, 0];
  for (; x < 10; x++) shift -= Math.log(x);
  const inverse = 1 / x;
  const series = inverse / 12 - inverse ** 3 / 360 + inverse ** 5 / 1260 - inverse ** 7 / 1680;
  return shift + (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series;
}
