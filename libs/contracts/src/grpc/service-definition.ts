import { type DescMessage, type DescMethod, type DescService, fromBinary, type Message, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';

/** The bytes of messages that go to many streams. */
const sharedBytes = new WeakMap<Message, Buffer>();

/** Writes a message once, however many streams it is sent to. It must not be changed any more. */
export function encodeOnce<S extends DescMessage>(schema: S, message: MessageShape<S>): MessageShape<S> {
  sharedBytes.set(message, Buffer.from(toBinary(schema, message)));
  return message;
}

/** The grpc-js definition of one protobuf-es method: path, kinds of streaming, and how its messages are written and read. */
export function methodDefinition(method: DescMethod): MethodDefinition<Message, Message> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => sharedBytes.get(message) ?? Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}

/** The grpc-js definition of a whole protobuf-es service, keyed by the camel-case method names. */
export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, methodDefinition(method)]));
}
