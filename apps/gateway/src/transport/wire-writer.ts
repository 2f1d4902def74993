const FIRST_BYTES = 1_024;
/** A buffer that a long prompt made longer than this is given back. */
const MOST_KEPT_BYTES = 64 * 1_024;
const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;
/** Bytes of the longest varint. */
const MOST_VARINT = 10;
/** Up to here a text's bytes are written one by one if they are ASCII; a call into the encoder costs more. Its length in UTF-8 fits one byte. */
const SHORT_TEXT = 40;

/**
 * Writes protobuf's wire format by hand, for the few messages that every request has: several times as fast as by their
 * descriptors. One message at a time; the buffer is used again.
 */
export class WireWriter {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #at = 0;

  /** Begins a message, whatever became of the one before. */
  begin(): void {
    this.#at = 0;
  }

  /** A copy of the message. */
  finish(): Buffer {
    const written = Buffer.allocUnsafe(this.#at);
    this.#bytes.copy(written, 0, 0, this.#at);
    if (this.#bytes.length > MOST_KEPT_BYTES) this.#bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
    return written;
  }

  /** Begins a part whose length stands before it. @returns what `close` needs */
  open(field?: number): number {
    this.#reserve(MOST_VARINT + 2);
    if (field !== undefined) this.#tag(field, DELIMITED);
    return ++this.#at;
  }

  close(start: number): void {
    const length = this.#at - start;
    if (length < 0x80) {
      this.#bytes[start - 1] = length;
      return;
    }
    const more = length < 0x4000 ? 1 : length < 0x20_0000 ? 2 : 3;
    this.#reserve(more);
    this.#bytes.copyWithin(start + more, start, this.#at);
    this.#at = start - 1;
    this.#varint(length);
    this.#at += length;
  }

  /** Left out when it is 0. @param value an integer of at least 0, at most 2 ** 53 */
  uint(field: number, value: number): void {
    if (value !== 0) this.optionalUint(field, value);
  }

  optionalUint(field: number, value: number): void {
    this.#reserve(MOST_VARINT + 2);
    this.#tag(field, VARINT);
    this.#varint(value);
  }

  /** Of int64 and uint64. Left out when it is 0. */
  long(field: number, value: bigint): void {
    if (value !== 0n) this.optionalLong(field, value);
  }

  optionalLong(field: number, value: bigint): void {
    this.#reserve(MOST_VARINT + 2);
    this.#tag(field, VARINT);
    let rest = BigInt.asUintN(64, value);
    for (; rest > BigInt(Number.MAX_SAFE_INTEGER); rest >>= 7n) this.#bytes[this.#at++] = Number(rest & 0x7fn) | 0x80;
    this.#varint(Number(rest));
  }

  double(field: number, value: number): void {
    this.#reserve(10);
    this.#tag(field, FIXED64);
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
  }

  float(field: number, value: number): void {
    this.#reserve(6);
    this.#tag(field, FIXED32);
    this.#at = this.#bytes.writeFloatLE(value, this.#at);
  }

  /** Left out when it is empty. */
  text(field: number, value: string): void {
    if (value !== '') this.item(field, value);
  }

  /** One of several texts, which may be empty. */
  item(field: number, value: string): void {
    this.#reserve(3 * value.length + MOST_VARINT + 2);
    this.#tag(field, DELIMITED);
    if (value.length <= SHORT_TEXT) this.#short(value);
    else {
      this.#varint(Buffer.byteLength(value));
      this.#at += this.#bytes.write(value, this.#at);
    }
  }

  /** Whole fields that were written before. */
  raw(bytes: Buffer): void {
    this.#reserve(bytes.length);
    bytes.copy(this.#bytes, this.#at);
    this.#at += bytes.length;
  }

  #short(value: string): void {
    const start = ++this.#at;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) {
        this.#at = start + this.#bytes.write(value, start);
        break;
      }
      this.#bytes[this.#at++] = code;
    }
    this.#bytes[start - 1] = this.#at - start;
  }

  #tag(field: number, type: number): void {
    this.#varint((field << 3) | type);
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
    this.#bytes[this.#at++] = rest;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const longer = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.#at + bytes));
    this.#bytes.copy(longer, 0, 0, this.#at);
    this.#bytes = longer;
  }
}
