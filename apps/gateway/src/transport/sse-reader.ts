/** An event that has not ended must not grow beyond this. */
const MAX_EVENT_CHARACTERS = 4 * 1024 * 1024;

/** Cuts a stream of server-sent events into the data of its events. Comments and other fields are passed over. */
export class SseReader {
  readonly #onData: (data: string) => void;
  #rest = '';
  #data: string[] = [];
  /** Characters of the event so far, line ends included. */
  #length = 0;

  constructor(onData: (data: string) => void) {
    this.#onData = onData;
  }

  /** @throws RangeError when an event is too long */
  push(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#line(line.endsWith('\r') ? line.slice(0, -1) : line);
    if (this.#length + this.#rest.length > MAX_EVENT_CHARACTERS) throw new RangeError('An event is too long.');
  }

  #line(line: string): void {
    if (line.startsWith('data:')) {
      this.#data.push(line.slice(line[5] === ' ' ? 6 : 5));
      this.#length += line.length + 1;
    } else if (line === '' && this.#data.length > 0) {
      const data = this.#data.join('\n');
      this.#data = [];
      this.#length = 0;
      this.#onData(data);
    }
  }
}
