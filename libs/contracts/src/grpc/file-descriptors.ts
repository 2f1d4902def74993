import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';

/** The serialized FileDescriptorProto of each file that the services need, what is imported first, for gRPC server reflection. */
export function fileDescriptors(services: readonly DescService[]): Buffer[] {
  const files = new Set<DescFile>();
  const collect = (file: DescFile): void => {
    if (files.has(file)) return;
    file.dependencies.forEach(collect);
    files.add(file);
  };
  services.forEach((service) => collect(service.file));
  return [...files].map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
}
