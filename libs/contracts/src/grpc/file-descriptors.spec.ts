import { describe, expect, it } from '@jest/globals';
import { create, createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Canary, fileDescriptors, Flags, Inference, Qos, Worker } from '../index.ts';

const read = (services: Parameters<typeof fileDescriptors>[0]): FileDescriptorProto[] => fileDescriptors(services).map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));

describe('fileDescriptors', () => {
  it.each([Canary, Flags, Inference, Qos, Worker])('holds every file that $typeName needs, each once, what is imported first', (service) => {
    const files = read([service]);
    const names = files.map((file) => file.name);
    expect(new Set(names).size).toBe(names.length);
    expect(files.flatMap((file) => file.dependency).filter((name) => !names.includes(name))).toEqual([]);
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: files }));
    expect(registry.getService(service.typeName)?.methods.map((method) => method.name)).toEqual(service.methods.map((method) => method.name));
  });

  it('shares the files of several services', () => {
    expect(read([Canary, Qos]).map((file) => file.name).sort()).toEqual(
      ['canary', 'decision', 'generation', 'qos', 'worker'].map((name) => `mlx_serving/v1/${name}.proto`),
    );
  });
});
