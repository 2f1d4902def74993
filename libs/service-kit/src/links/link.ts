import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { Logger } from '../logger.ts';

export interface LinkOptions<Up, Down> {
  /** For the log: "flags", "qos", "canary". */
  readonly name: string;
  readonly open: () => ClientDuplexStream<Up, Down>;
  /** The first message of each connection. */
  readonly hello: () => Up;
  readonly onMessage: (message: Down) => void;
  readonly onConnected?: () => void;
  readonly logger: Logger;
}

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 2_000;

/**
 * One bidirectional stream to a controller that reconnects by itself, with a jittered backoff of 50 ms to 2 s.
 * A link that is down changes nothing: what came down it last still holds.
 */
export class Link<Up, Down> {
  readonly #options: LinkOptions<Up, Down>;
  #stream: ClientDuplexStream<Up, Down> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #attempt = 0;
  #connected = false;
  #stopped = false;

  constructor(options: LinkOptions<Up, Down>) {
    this.#options = options;
  }

  /** True from the first message that came down until the stream ends. */
  get connected(): boolean {
    return this.#connected;
  }

  start(): void {
    const stream = this.#options.open();
    this.#stream = stream;
    stream.on('data', (message: Down) => this.#receive(message));
    stream.once('error', (error: Error) => this.#lost(stream, error.message));
    stream.once('end', () => this.#lost(stream, 'the controller ended the link'));
    stream.write(this.#options.hello());
  }

  /** @returns false when the link is down or its buffer is full, and the message was not taken */
  send(message: Up): boolean {
    if (!this.#connected || !this.#stream || this.#stream.writableNeedDrain) return false;
    this.#stream.write(message);
    return true;
  }

  /** Stops, but lets what was sent arrive: waits `graceMs` at most until the controller has ended its side too. */
  async close(graceMs = 500): Promise<void> {
    const stream = this.#stream;
    if (this.#connected && stream) {
      this.#stopped = true;
      const ended = new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs);
        stream.once('status', () => {
          clearTimeout(timer);
          resolve();
        });
      });
      stream.end();
      await ended;
    }
    this.stop();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#retry);
    this.#connected = false;
    this.#stream?.cancel();
  }

  #receive(message: Down): void {
    const isFirst = !this.#connected;
    // Before the message is used, so that its acknowledgement can be sent.
    this.#connected = true;
    try {
      this.#options.onMessage(message);
    } catch (error) {
      this.#options.logger.error({ link: this.#options.name, err: error }, 'a message of the link could not be used');
    }
    if (!isFirst) return;
    this.#attempt = 0;
    this.#options.logger.info({ link: this.#options.name }, 'link is up');
    this.#options.onConnected?.();
  }

  #lost(stream: ClientDuplexStream<Up, Down>, problem: string): void {
    if (stream !== this.#stream || this.#stopped) return;
    this.#stream = undefined;
    if (this.#connected || this.#attempt === 0) this.#options.logger.warn({ link: this.#options.name, problem }, 'link is down');
    this.#connected = false;
    stream.on('error', () => undefined);
    const delay = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#attempt++) * (0.5 + Math.random() / 2);
    this.#retry = setTimeout(() => this.start(), delay);
  }
}
