import { expect, it } from '@jest/globals';
import { windowLabel } from './window-label.ts';

it.each([
  [60_000, '1m'],
  [30_000, '30s'],
  [90_000, '90s'],
  [3_600_000, '1h'],
  [1_500, '1500ms'],
])('names a window of %d ms %s', (windowMs, label) => {
  expect(windowLabel(windowMs)).toBe(label);
});
