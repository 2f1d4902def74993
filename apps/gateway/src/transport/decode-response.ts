import { fromBinary } from '@bufbuild/protobuf';
import { type Token, type WorkerGenerateResponse, WorkerGenerateResponseSchema } from '@mlx-serving/contracts';
import { decodeEvent } from './decode-event.ts';

const CHUNK_TAG = 0x12;
const TOKENS_TAG = 0x0a;
const ID_TAG = 0x08;
const TEXT_TAG = 0x12;
/** Up to here text is decoded here if it is ASCII; a call into the decoder costs more. */
const SHORT_TEXT = 24;

const RESPONSE = 'mlx_serving.v1.WorkerGenerateResponse';
const CHUNK = 'mlx_serving.v1.TokenChunk';
const TOKEN = 'mlx_serving.v1.Token';

/**
 * Reads a WorkerGenerateResponse. Chunks of plain tokens, nearly all that a stream has, and its first and last event are
 * read by hand, several times as fast; everything else, and whatever this code does not know, by protobuf-es.
 * @throws Error when the bytes are no such message
 */
export function decodeResponse(bytes: Buffer): WorkerGenerateResponse {
  const event = bytes[0] === CHUNK_TAG ? chunkOf(readChunk(bytes)) : decodeEvent(bytes);
  return event === undefined ? fromBinary(WorkerGenerateResponseSchema, bytes) : { $typeName: RESPONSE, event };
}

function chunkOf(tokens: Token[] | undefined): WorkerGenerateResponse['event'] | undefined {
  return tokens && { case: 'chunk', value: { $typeName: CHUNK, tokens } };
}

/** The tokens of a chunk, or undefined when it has anything but ids and texts whose lengths fit one byte. */
function readChunk(bytes: Buffer): Token[] | undefined {
  const tokens: Token[] = [];
  let at = lengthEnd(bytes, 1);
  if (at === -1) return undefined;
  while (at < bytes.length) {
    const size = bytes[at + 1] ?? 0x80;
    const end = at + 2 + size;
    if (bytes[at] !== TOKENS_TAG || size >= 0x80 || end > bytes.length) return undefined;
    const token = readToken(bytes, at + 2, end);
    if (token === undefined) return undefined;
    tokens.push(token);
    at = end;
  }
  return tokens;
}

/** Where the length at this place ends, if that length is all the rest of the message; else -1. */
function lengthEnd(bytes: Buffer, start: number): number {
  let length = 0;
  for (let at = start, shift = 0; at < bytes.length && shift < 28; at++, shift += 7) {
    const byte = bytes[at] ?? 0;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) return at + 1 + length === bytes.length ? at + 1 : -1;
  }
  return -1;
}

function readToken(bytes: Buffer, start: number, end: number): Token | undefined {
  let at = start;
  let id = 0;
  if (bytes[at] === ID_TAG) {
    let shift = 0;
    let byte = 0x80;
    for (at++; byte >= 0x80; shift += 7) {
      if (at >= end || shift > 21) return undefined;
      byte = bytes[at++] ?? 0;
      id |= (byte & 0x7f) << shift;
    }
  }
  if (at === end) return { $typeName: TOKEN, id, text: '', topLogprobs: [] };
  if (bytes[at] !== TEXT_TAG || at + 2 + (bytes[at + 1] ?? 0x80) !== end || end > at + 2 + 0x7f) return undefined;
  const text = readText(bytes, at + 2, end);
  return text === undefined ? undefined : { $typeName: TOKEN, id, text, topLogprobs: [] };
}

/** @returns undefined when it may not be UTF-8, which is for protobuf-es to say */
function readText(bytes: Buffer, start: number, end: number): string | undefined {
  if (end - start > SHORT_TEXT) return readUtf8(bytes, start, end);
  let text = '';
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte >= 0x80) return readUtf8(bytes, start, end);
    text += String.fromCharCode(byte);
  }
  return text;
}

function readUtf8(bytes: Buffer, start: number, end: number): string | undefined {
  const text = bytes.toString('utf8', start, end);
  return text.includes('\ufffd') ? undefined : text;
}
