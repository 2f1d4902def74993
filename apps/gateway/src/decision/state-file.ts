import { type DescMessage, fromJsonString, type MessageShape, toJsonString } from '@bufbuild/protobuf';
import { type Logger, readFileIfPresent, writeFileAtomically } from '@mlx-serving/service-kit';

/** How long a change waits for others, in milliseconds: a disk that writes each change at once holds up Redis on the same disk. */
const PAUSE_MS = 250;

/**
 * Keeps the last message of one kind on disk, as JSON. Changes that come soon after another are written together,
 * and while a write runs only the newest waits behind it.
 */
export class StateFile<S extends DescMessage> {
  readonly #schema: S;
  readonly #path: string;
  readonly #logger: Logger;
  readonly #encode: (message: MessageShape<S>) => string | Promise<string>;
  #next: (() => MessageShape<S>) | undefined;
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param encode makes the JSON of a message; given for messages that are too large to be encoded at once */
  constructor(schema: S, path: string, logger: Logger, encode: (message: MessageShape<S>) => string | Promise<string> = (message) => toJsonString(schema, message)) {
    this.#schema = schema;
    this.#path = path;
    this.#logger = logger;
    this.#encode = encode;
  }

  /** @returns the message kept, or undefined when there is none or it cannot be read, which is logged */
  async load(): Promise<MessageShape<S> | undefined> {
    try {
      const bytes = await readFileIfPresent(this.#path);
      return bytes && fromJsonString(this.#schema, Buffer.from(bytes).toString('utf8'), { ignoreUnknownFields: true });
    } catch (error) {
      this.#logger.warn({ file: this.#path, problem: String(error) }, 'a kept state cannot be read');
      return undefined;
    }
  }

  /**
   * Writes soon; many changes cost one write.
   * @param message or what makes it, which is called when it is written
   */
  save(message: MessageShape<S> | (() => MessageShape<S>)): void {
    this.#next = typeof message === 'function' ? message : () => message;
    this.#timer ??= setTimeout(() => this.#begin(), PAUSE_MS).unref();
  }

  /** Writes what waits at once. Resolves once everything that was saved is on disk, or could not be written. */
  async settled(): Promise<void> {
    this.#begin();
    await this.#writing;
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    while (this.#next !== undefined) {
      const next = this.#next;
      this.#next = undefined;
      const text = await this.#encode(next());
      await writeFileAtomically(this.#path, text, 0o600).catch((error: unknown) =>
        this.#logger.warn({ file: this.#path, problem: String(error) }, 'a state cannot be kept on disk'),
      );
    }
    this.#writing = undefined;
  }
}
