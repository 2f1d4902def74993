import { type DescMessage, type JsonObject, type JsonValue, type MessageShape, ScalarType, toJson } from '@bufbuild/protobuf';

const LONG = new Set([ScalarType.INT64, ScalarType.UINT64, ScalarType.SINT64, ScalarType.FIXED64, ScalarType.SFIXED64]);

/** A message as plain JSON: every field present, enums by name, and 64-bit numbers as numbers, not as protobuf's texts. */
export function messageJson<D extends DescMessage>(schema: D, message: MessageShape<D>): JsonValue {
  return withNumbers(schema, toJson(schema, message, { alwaysEmitImplicit: true }));
}

function withNumbers(schema: DescMessage, json: JsonValue): JsonValue {
  const values = { ...(json as JsonObject) };
  for (const field of schema.fields) {
    const value = values[field.jsonName];
    if (value === undefined) continue;
    if (field.fieldKind === 'scalar' && LONG.has(field.scalar)) values[field.jsonName] = Number(value);
    if (field.fieldKind === 'message') values[field.jsonName] = withNumbers(field.message, value);
    if (field.fieldKind === 'list' && field.listKind === 'message') {
      const { message } = field;
      values[field.jsonName] = (value as JsonValue[]).map((item) => withNumbers(message, item));
    }
  }
  return values;
}
