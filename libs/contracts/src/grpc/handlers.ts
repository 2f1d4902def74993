import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Server,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceError,
  UntypedHandleCall,
} from '@grpc/grpc-js';
import { serviceDefinition } from './service-definition.ts';

/** A unary handler answers a message; a streaming one writes to the call that it is given. A rejection ends the call with an error. */
export type Handler<M extends DescMethod> = M['methodKind'] extends 'unary'
  ? (
      request: MessageShape<M['input']>,
      call: ServerUnaryCall<MessageShape<M['input']>, MessageShape<M['output']>>,
    ) => Promise<MessageInitShape<M['output']>>
  : M['methodKind'] extends 'server_streaming'
    ? (call: ServerWritableStream<MessageShape<M['input']>, MessageShape<M['output']>>) => Promise<void> | void
    : (call: ServerDuplexStream<MessageShape<M['input']>, MessageShape<M['output']>>) => Promise<void> | void;

export type Handlers<S extends DescService> = { [K in keyof S['method']]: Handler<S['method'][K]> };

/** Turns whatever a handler threw into the error that grpc-js sends. */
export type ToGrpcError = (cause: unknown, path: string) => Partial<ServiceError>;

/** Adds a protobuf-es service with its typed handlers to a grpc-js server. */
export function addService<S extends DescService>(
  server: Server,
  service: S,
  handlers: Handlers<S>,
  toGrpcError: ToGrpcError,
): void {
  const untyped = handlers as Record<string, (...args: never[]) => unknown>;
  const implementation = Object.fromEntries(
    service.methods.map((method) => {
      const handler = untyped[method.localName];
      if (!handler) throw new Error(`${service.typeName} has no handler for ${method.name}`);
      return [method.localName, grpcHandler(method, handler as never, toGrpcError)];
    }),
  );
  server.addService(serviceDefinition(service), implementation);
}

function grpcHandler(method: DescMethod, handler: (...args: unknown[]) => unknown, toGrpcError: ToGrpcError): UntypedHandleCall {
  const path = `/${method.parent.typeName}/${method.name}`;
  if (method.methodKind === 'unary') {
    const unary: handleUnaryCall<unknown, unknown> = (call, callback) => {
      Promise.resolve()
        .then(() => handler(call.request, call))
        .then((answer) => callback(null, create(method.output, answer as never)))
        .catch((cause: unknown) => callback(toGrpcError(cause, path)));
    };
    return unary;
  }
  const streaming: handleServerStreamingCall<unknown, unknown> & handleBidiStreamingCall<unknown, unknown> = (call: {
    emit(event: 'error', error: unknown): boolean;
  }) => {
    Promise.resolve()
      .then(() => handler(call))
      .catch((cause: unknown) => call.emit('error', toGrpcError(cause, path)));
  };
  return streaming;
}
