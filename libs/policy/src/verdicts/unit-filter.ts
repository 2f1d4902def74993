const BITS = 2 ** 19;
const PROBES = 4;

/**
 * Remembers which units had which event, in 64 KiB whatever the traffic: a Bloom filter. Taking a new unit for a known one
 * leaves out an event of either variant alike, so a full filter costs power, never validity. Filters merge by OR.
 */
export class UnitFilter {
  readonly #bytes: Uint8Array;

  /** @param text what `toString` gave */
  constructor(text?: string) {
    this.#bytes = new Uint8Array(BITS / 8);
    if (text) this.#bytes.set(fromBase64(text).subarray(0, this.#bytes.length));
  }

  /**
   * @param unit hexadecimal digits of a hash, 16 of them
   * @param kind which event, a small number
   * @returns true the first time
   */
  add(unit: string, kind: number): boolean {
    let position = (Number.parseInt(unit.slice(0, 8), 16) ^ Math.imul(kind + 1, 0x9e3779b1)) >>> 0;
    const step = (Number.parseInt(unit.slice(8, 16), 16) | 1) >>> 0;
    let isNew = false;
    for (let probe = 0; probe < PROBES; probe++) {
      position = (position + step) >>> 0;
      const index = (Math.imul(position, 0x85ebca6b) >>> 0) % BITS;
      const mask = 1 << (index & 7);
      const byte = this.#bytes[index >> 3] ?? 0;
      if ((byte & mask) === 0) {
        isNew = true;
        this.#bytes[index >> 3] = byte | mask;
      }
    }
    return isNew;
  }

  toString(): string {
    let text = '';
    for (const byte of this.#bytes) text += String.fromCharCode(byte);
    return btoa(text);
  }
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
