/** How much an arrival weighs in the mix: about the last hundred count. */
const WEIGHT = 0.01;

/** Which share of the arrivals of late each class is, the most urgent first. */
export class ClassMix {
  readonly #shares: number[];

  constructor(classes: number) {
    this.#shares = Array.from({ length: classes }, () => 0);
  }

  /** One arrival of a class, by its place. */
  arrived(place: number): void {
    const seen = this.#shares.reduce((sum, share) => sum + share, 0) > 0;
    for (let each = 0; each < this.#shares.length; each++) {
      const hit = each === place ? 1 : 0;
      this.#shares[each] = seen ? (this.#shares[each] as number) * (1 - WEIGHT) + WEIGHT * hit : hit;
    }
  }

  get shares(): readonly number[] {
    return this.#shares;
  }
}

/**
 * Spreads a share of all requests over the classes, the least urgent first: a class is touched only when every one below it is
 * refused whole (SPEC Q3).
 * @param mix share of the arrivals of each class, the most urgent first
 * @returns share of each class to refuse
 */
export function shedByClass(share: number, mix: readonly number[]): number[] {
  const bounded = Math.min(1, Math.max(0, share));
  const whole = mix.reduce((sum, each) => sum + each, 0);
  if (whole === 0) return mix.map(() => bounded);
  const wanted = bounded * whole;
  return mix.map((own, at) => {
    const below = mix.slice(at + 1).reduce((sum, each) => sum + each, 0);
    // A class that nobody is of: the first that comes goes before those above it.
    if (own === 0) return wanted > below ? 1 : 0;
    return Math.min(1, Math.max(0, (wanted - below) / own));
  });
}
