import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, type Message } from '@bufbuild/protobuf';
import {
  type CallOptions,
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials as channelCredentials,
  type ChannelCredentials,
  Metadata,
} from '@grpc/grpc-js';
import { methodDefinition } from './service-definition.ts';

/** Options of one call. `deadlineMs` counts from now; without it `defaultDeadlineMs` of the client holds for unary calls. */
export interface CallSettings {
  deadlineMs?: number;
  metadata?: Metadata;
  signal?: AbortSignal;
}

type Method<M extends DescMethod> = M['methodKind'] extends 'unary'
  ? (request: MessageInitShape<M['input']>, settings?: CallSettings) => Promise<MessageShape<M['output']>>
  : M['methodKind'] extends 'server_streaming'
    ? (request: MessageInitShape<M['input']>, settings?: CallSettings) => ClientReadableStream<MessageShape<M['output']>>
    : (settings?: CallSettings) => ClientDuplexStream<MessageShape<M['input']>, MessageShape<M['output']>>;

/** A typed client: one function a method, and the channel behind it. */
export type ServiceClient<S extends DescService> = { [K in keyof S['method']]: Method<S['method'][K]> } & {
  readonly channel: Client;
  close(): void;
};

export interface ClientSettings {
  credentials?: ChannelCredentials;
  /** Deadline of a unary call that names none. Default: 5000. */
  defaultDeadlineMs?: number;
  options?: ChannelOptions;
}

/** Bounds that every channel of the system has: keepalive, message size, no hidden retries, quick reconnection. A snapshot of ten thousand flags fits into one answer. */
export const channelOptions: ChannelOptions = {
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.enable_retries': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
  'grpc.max_send_message_length': 4 * 1024 * 1024,
};

/**
 * Creates a client of a protobuf-es service over grpc-js.
 * @param address `host:port`
 */
export function createServiceClient<S extends DescService>(
  service: S,
  address: string,
  settings: ClientSettings = {},
): ServiceClient<S> {
  const { credentials = channelCredentials.createInsecure(), defaultDeadlineMs = 5_000, options } = settings;
  const channel = new Client(address, credentials, { ...channelOptions, ...options });
  const methods = service.methods.map((method) => [method.localName, clientMethod(channel, method, defaultDeadlineMs)]);
  return { ...Object.fromEntries(methods), channel, close: () => channel.close() } as ServiceClient<S>;
}

function clientMethod(channel: Client, method: DescMethod, defaultDeadlineMs: number): unknown {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method);
  switch (method.methodKind) {
    case 'unary':
      return (request: MessageInitShape<never>, settings: CallSettings = {}) =>
        new Promise<Message>((resolve, reject) => {
          const call = channel.makeUnaryRequest(
            path,
            requestSerialize,
            responseDeserialize,
            create(method.input, request),
            settings.metadata ?? new Metadata(),
            callOptions(settings, defaultDeadlineMs),
            (error, answer) => (error ? reject(error) : resolve(answer as Message)),
          );
          cancelOn(settings.signal, call);
        });
    case 'server_streaming':
      return (request: MessageInitShape<never>, settings: CallSettings = {}) => {
        const metadata = settings.metadata ?? new Metadata();
        const message = create(method.input, request);
        const call = channel.makeServerStreamRequest(path, requestSerialize, responseDeserialize, message, metadata, callOptions(settings));
        cancelOn(settings.signal, call);
        return call;
      };
    default:
      return (settings: CallSettings = {}) => {
        const metadata = settings.metadata ?? new Metadata();
        const call = channel.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata, callOptions(settings));
        cancelOn(settings.signal, call);
        return call;
      };
  }
}

function callOptions(settings: CallSettings, defaultDeadlineMs?: number): CallOptions {
  const deadlineMs = settings.deadlineMs ?? defaultDeadlineMs;
  return deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
}

function cancelOn(signal: AbortSignal | undefined, call: { cancel(): void; once(event: string, listener: () => void): unknown }): void {
  if (!signal) return;
  if (signal.aborted) return call.cancel();
  const cancel = (): void => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  call.once('status', () => signal.removeEventListener('abort', cancel));
}
