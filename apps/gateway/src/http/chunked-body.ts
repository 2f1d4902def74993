import type { ServerResponse } from 'node:http';

/**
 * The body of an answer whose length is not known, in HTTP/1.1's chunks of its own making: head and chunk, or chunk and
 * end, are one text and one write, where Node's own chunks are four parts each. Call it when the head is written.
 */
export class ChunkedBody {
  readonly #response: ServerResponse;
  /** An HTTP/1.0 client gets the bare text, and the end of the connection. */
  readonly #chunked: boolean;

  constructor(response: ServerResponse) {
    this.#response = response;
    this.#chunked = response.chunkedEncoding;
    response.chunkedEncoding = false;
  }

  /** @param text not empty, for an empty chunk is the end @returns false when the client does not keep up */
  write(text: string): boolean {
    return this.#response.write(this.#framed(text));
  }

  /** @param text what is left; may be empty */
  end(text: string): void {
    const last = this.#chunked ? '0\r\n\r\n' : '';
    this.#response.end(text === '' ? last : this.#framed(text) + last);
  }

  #framed(text: string): string {
    return this.#chunked ? `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n` : text;
  }
}
