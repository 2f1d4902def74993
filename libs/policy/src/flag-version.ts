const VERSION = /^(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,14})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$/;
const MAX_LENGTH = 256;

/** A version as Semantic Versioning 2.0.0 orders it; what stands behind `+` does not count. */
export interface Version {
  readonly numbers: readonly [number, number, number];
  readonly prerelease: readonly (string | number)[];
}

/** @returns undefined when the text is no version */
export function readVersion(text: unknown): Version | undefined {
  if (typeof text !== 'string' || text.length > MAX_LENGTH) return undefined;
  const match = VERSION.exec(text);
  if (!match) return undefined;
  const [, major, minor, patch, prerelease] = match;
  const identifiers = prerelease === undefined ? [] : prerelease.split('.');
  if (identifiers.some((identifier) => /^0\d+$/.test(identifier))) return undefined;
  return {
    numbers: [Number(major), Number(minor), Number(patch)],
    prerelease: identifiers.map((identifier) => (/^\d{1,15}$/.test(identifier) ? Number(identifier) : identifier)),
  };
}

/** Negative when `a` comes before `b`, 0 when they are equal. */
export function compareVersions(a: Version, b: Version): number {
  for (let i = 0; i < 3; i++) {
    const difference = a.numbers[i]! - b.numbers[i]!;
    if (difference !== 0) return difference;
  }
  if (a.prerelease.length === 0 || b.prerelease.length === 0) return b.prerelease.length - a.prerelease.length;
  for (let i = 0; i < Math.max(a.prerelease.length, b.prerelease.length); i++) {
    const order = compareIdentifiers(a.prerelease[i], b.prerelease[i]);
    if (order !== 0) return order;
  }
  return 0;
}

/** Fewer identifiers come first, numbers before words. */
function compareIdentifiers(a: string | number | undefined, b: string | number | undefined): number {
  if (a === b) return 0;
  if (a === undefined) return -1;
  if (b === undefined) return 1;
  if (typeof a === typeof b) return a < b ? -1 : 1;
  return typeof a === 'number' ? -1 : 1;
}
