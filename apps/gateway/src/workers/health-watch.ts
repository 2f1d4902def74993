import type { Client, ClientReadableStream, ClientUnaryCall } from '@grpc/grpc-js';
import { Metadata } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';

interface HealthAnswer {
  readonly status: string;
}

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 1_000;

/** Follows grpc.health.v1 of one server over a channel, and comes back to it by itself. */
export class HealthWatch {
  readonly #channel: Client;
  readonly #onChange: (serving: boolean) => void;
  #stream: (ClientReadableStream<HealthAnswer> & Pick<ClientUnaryCall, 'cancel'>) | undefined;
  #retry: NodeJS.Timeout | undefined;
  #attempt = 0;
  #stopped = false;
  #serving = false;

  constructor(channel: Client, onChange: (serving: boolean) => void) {
    this.#channel = channel;
    this.#onChange = onChange;
  }

  get serving(): boolean {
    return this.#serving;
  }

  start(): void {
    const watch = healthService['Watch'];
    if (!watch || this.#stopped) return;
    const stream = this.#channel.makeServerStreamRequest<object, HealthAnswer>(
      watch.path,
      watch.requestSerialize as (request: object) => Buffer,
      watch.responseDeserialize as (bytes: Buffer) => HealthAnswer,
      { service: '' },
      new Metadata(),
    );
    this.#stream = stream;
    stream.on('data', ({ status }: HealthAnswer) => {
      this.#attempt = 0;
      this.#set(status === 'SERVING');
    });
    stream.on('error', () => this.#lost(stream));
    stream.on('end', () => this.#lost(stream));
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#retry);
    this.#stream?.cancel();
    this.#serving = false;
  }

  #lost(stream: ClientReadableStream<HealthAnswer>): void {
    if (stream !== this.#stream || this.#stopped) return;
    this.#stream = undefined;
    this.#set(false);
    const delay = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.#attempt++, 10)) * (0.5 + Math.random() / 2);
    this.#retry = setTimeout(() => this.start(), delay);
  }

  #set(serving: boolean): void {
    if (serving === this.#serving) return;
    this.#serving = serving;
    this.#onChange(serving);
  }
}
