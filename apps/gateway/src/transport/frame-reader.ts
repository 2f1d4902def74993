const HEADER_BYTES = 5;

/**
 * Cuts the bytes of a gRPC stream into its messages: one byte of flags and four of length stand before each. A message
 * that came in one piece is not copied; one that came in many is copied once.
 */
export class FrameReader {
  readonly #maxBytes: number;
  readonly #onMessage: (message: Buffer) => void;
  #parts: Buffer[] = [];
  #size = 0;
  /** Bytes without which nothing can be read on. */
  #needed = HEADER_BYTES;

  /** @param maxBytes the longest message that is taken */
  constructor(maxBytes: number, onMessage: (message: Buffer) => void) {
    this.#maxBytes = maxBytes;
    this.#onMessage = onMessage;
  }

  /** Whether a message has begun and not ended. */
  get inMessage(): boolean {
    return this.#size > 0;
  }

  /** @throws RangeError when a message is longer than the bound, TypeError when one is compressed */
  push(bytes: Buffer): void {
    if (this.#size === 0 && bytes.length >= HEADER_BYTES) return this.#read(bytes);
    this.#parts.push(bytes);
    this.#size += bytes.length;
    if (this.#size < this.#needed) return;
    const whole = Buffer.concat(this.#parts, this.#size);
    this.#parts = [];
    this.#size = 0;
    this.#read(whole);
  }

  #read(data: Buffer): void {
    let at = 0;
    this.#needed = HEADER_BYTES;
    while (data.length - at >= HEADER_BYTES) {
      const length = data.readUInt32BE(at + 1);
      if (length > this.#maxBytes) throw new RangeError(`A message has ${length} bytes; at most ${this.#maxBytes} are taken.`);
      if (data[at] !== 0) throw new TypeError('A message is compressed, which was not asked for.');
      const end = at + HEADER_BYTES + length;
      if (end > data.length) {
        this.#needed = HEADER_BYTES + length;
        break;
      }
      this.#onMessage(data.subarray(at + HEADER_BYTES, end));
      at = end;
    }
    if (at === data.length) return;
    this.#parts.push(at === 0 ? data : data.subarray(at));
    this.#size = data.length - at;
  }
}

/** One message as a gRPC stream carries it. */
export function frame(message: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + message.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, HEADER_BYTES);
  return bytes;
}
