const UNITS = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

/** A window's length as a metric label: `1m`, `30s`, `1h`, or milliseconds when nothing larger fits. */
export function windowLabel(windowMs: number): string {
  const unit = UNITS.find(([, size]) => windowMs % size === 0);
  return unit ? `${windowMs / unit[1]}${unit[0]}` : `${windowMs}ms`;
}
