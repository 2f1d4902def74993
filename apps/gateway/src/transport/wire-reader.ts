const MOST_VARINT_BITS = 28;

/**
 * Reads protobuf's wire format by hand, for the few messages that every request has. Whatever it does not know by heart,
 * unknown fields, broken bytes and numbers above 28 bits among it, makes it `lost`: the message is then for protobuf-es.
 */
export class WireReader {
  #bytes: Buffer = Buffer.alloc(0);
  at = 0;
  lost = false;

  begin(bytes: Buffer): void {
    this.#bytes = bytes;
    this.at = 0;
    this.lost = false;
  }

  /** @returns where a part ends whose length comes now, or the present place when that is beyond `end` */
  open(end: number): number {
    const length = this.uint();
    if (this.at + length <= end) return this.at + length;
    this.lost = true;
    return this.at;
  }

  /** Whether there is more to read of a part. */
  has(end: number): boolean {
    if (this.at > end) this.lost = true;
    return !this.lost && this.at < end;
  }

  uint(): number {
    let value = 0;
    for (let shift = 0; shift < MOST_VARINT_BITS; shift += 7) {
      const byte = this.#bytes[this.at++];
      if (byte === undefined) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    this.lost = true;
    return 0;
  }

  double(): number {
    if (this.at + 8 > this.#bytes.length) {
      this.lost = true;
      return 0;
    }
    this.at += 8;
    return this.#bytes.readDoubleLE(this.at - 8);
  }

  /** Lost where it may not be UTF-8, or begins with a byte order mark, which protobuf-es takes away. */
  text(end: number): string {
    const stop = this.open(end);
    const text = this.#bytes.toString('utf8', this.at, stop);
    this.at = stop;
    if (text.includes('\ufffd') || text.startsWith('\ufeff')) this.lost = true;
    return text;
  }
}
