import { type DescMessage, fromJsonString, type MessageShape, toJsonString } from '@bufbuild/protobuf';
import { type Logger, readFileIfPresent, writeFileAtomically } from '@mlx-serving/service-kit';

/**
 * Keeps the last message of one kind on disk, as JSON. While a write runs only the newest waits behind it,
 * so a burst of changes costs two writes.
 */
export class StateFile<S extends DescMessage> {
  readonly #schema: S;
  readonly #path: string;
  readonly #logger: Logger;
  readonly #encode: (message: MessageShape<S>) => string | Promise<string>;
  #next: MessageShape<S> | undefined;
  #writing: Promise<void> | undefined;

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

  save(message: MessageShape<S>): void {
    this.#next = message;
    this.#writing ??= this.#write();
  }

  /** Resolves once everything that was saved is on disk, or could not be written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    while (this.#next !== undefined) {
      const next = this.#next;
      this.#next = undefined;
      const text = await this.#encode(next);
      await writeFileAtomically(this.#path, text, 0o600).catch((error: unknown) =>
        this.#logger.warn({ file: this.#path, problem: String(error) }, 'a state cannot be kept on disk'),
      );
    }
    this.#writing = undefined;
  }
}
