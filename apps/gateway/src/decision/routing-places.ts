import { hash } from 'node:crypto';
import { bucketByKey } from '@mlx-serving/hashing';

/** Where a key falls among 100 000 places, and how reports name it. */
export interface RoutingPlace {
  readonly place: number;
  /** See `hashOf`. */
  readonly hash: string;
}

/** A longer key, which only a header can be, costs more memory than it saves time. */
const LONGEST_KEY = 512;

export function placeOf(key: string, seed: string): RoutingPlace {
  return { place: bucketByKey(key, seed), hash: hashOf(key) };
}

/** The first 16 hexadecimal digits of a key's SHA-256. */
export function hashOf(key: string): string {
  return hash('sha256', key).slice(0, 16);
}

/**
 * Remembers the places of the keys that were used last (SPEC C1). Places do not hang on the share, so they hold while it
 * changes; another seed forgets them.
 */
export class RoutingPlaces {
  readonly #places = new Map<string, RoutingPlace>();
  #seed = '';
  #size = 0;
  #hits = 0;
  #misses = 0;

  get size(): number {
    return this.#places.size;
  }

  /** @param size most keys that are remembered; 0 for none */
  configure(seed: string, size: number): void {
    if (seed !== this.#seed || size < this.#size) this.#places.clear();
    this.#seed = seed;
    this.#size = size;
  }

  /** How often a key was known and was not, since the last time that one asked. */
  takeCounts(): { readonly hits: number; readonly misses: number } {
    const counts = { hits: this.#hits, misses: this.#misses };
    this.#hits = this.#misses = 0;
    return counts;
  }

  of(key: string): RoutingPlace {
    if (this.#size === 0 || key.length > LONGEST_KEY) return placeOf(key, this.#seed);
    const known = this.#places.get(key);
    if (known) {
      this.#hits++;
      // The one that was used last is forgotten last.
      this.#places.delete(key);
      this.#places.set(key, known);
      return known;
    }
    this.#misses++;
    return this.#remember(key);
  }

  #remember(key: string): RoutingPlace {
    const found = placeOf(key, this.#seed);
    this.#places.set(key, found);
    if (this.#places.size > this.#size) {
      const [oldest] = this.#places.keys();
      if (oldest !== undefined) this.#places.delete(oldest);
    }
    return found;
  }
}
