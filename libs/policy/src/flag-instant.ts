const ISO = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/;

/**
 * Unix time in milliseconds of a date: a number, a `Date`, or an ISO 8601 text. A day alone is its beginning in UTC; a time
 * needs its offset, so that every machine reads the same instant.
 * @returns undefined for anything else
 */
export function readInstant(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  const milliseconds = typeof value === 'string' ? readText(value) : value instanceof Date ? value.getTime() : Number.NaN;
  return Number.isNaN(milliseconds) ? undefined : milliseconds;
}

function readText(text: string): number {
  if (!ISO.test(text)) return Number.NaN;
  const milliseconds = Date.parse(text);
  // Date.parse takes 30 February for 2 March.
  const day = new Date(`${text.slice(0, 10)}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text.slice(0, 10)) ? milliseconds : Number.NaN;
}
