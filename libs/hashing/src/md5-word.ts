import { hash } from 'node:crypto';

/** Longest text that fits into one block of md5 beside its padding. */
const ONE_BLOCK = 55;
const block = new Int32Array(16);
/** The same block byte by byte: md5 reads its words in little endian, as every machine does that Node.js runs on. */
const bytes = new Uint8Array(block.buffer);
/** The four words of md5's state between its rounds. */
const state = new Int32Array(4);

/**
 * First 32 bits, big endian, of the md5 of the UTF-8 text: 0 to 2**32 - 1.
 * A short ASCII text takes a path of its own, which needs less time than the call into node:crypto.
 */
export function hash32(text: string): number {
  const length = text.length;
  return length <= ONE_BLOCK && put(text, 0) ? finish(length) : hash32ByCrypto(text);
}

/** Prepares `hash32` of `before`, then a key, then `after`. */
export function createHash32(before: string, after: string): (key: string) => number {
  const around = before.length + after.length;
  // A part that is not ASCII leaves no room for a key.
  const longest = isAscii(before) && isAscii(after) ? ONE_BLOCK - around : -1;
  return (key) => {
    const length = key.length;
    if (length > longest || !put(key, before.length)) return hash32ByCrypto(before + key + after);
    put(before, 0);
    put(after, before.length + length);
    return finish(around + length);
  };
}

/** The same by node:crypto, for any text. */
export function hash32ByCrypto(text: string): number {
  return Number.parseInt(hash('md5', text).slice(0, 8), 16);
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}

/** @returns false when the text is not ASCII */
function put(text: string, offset: number): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return false;
    bytes[offset + i] = code;
  }
  return true;
}

/** Pads the text of so many bytes in the block, and hashes it. */
function finish(length: number): number {
  bytes[length] = 0x80;
  for (let i = length + 1; i & 3; i++) bytes[i] = 0;
  for (let i = (length >> 2) + 1; i < 16; i++) block[i] = 0;
  block[14] = length << 3;
  return firstWord();
}

/** One block of md5 over `block`, unrolled; only the first word of the digest is built. */
function firstWord(): number {
  state[0] = 0x67452301;
  state[1] = 0xefcdab89;
  state[2] = 0x98badcfe;
  state[3] = 0x10325476;
  firstRound();
  secondRound();
  thirdRound();
  fourthRound();
  const word = (state[0] + 0x67452301) | 0;
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}

/** One of md5's 64 steps: `sine` is floor(2^32 * |sin(i + 1)|) of RFC 1321 as a signed integer. */
function step(a: number, b: number, mixed: number, word: number, left: number, sine: number): number {
  const sum = (a + mixed + word + sine) | 0;
  return (b + ((sum << left) | (sum >>> (32 - left)))) | 0;
}

function firstRound(): void {
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  a = step(a, b, d ^ (b & (c ^ d)), block[0]!, 7, -680876936);
  d = step(d, a, c ^ (a & (b ^ c)), block[1]!, 12, -389564586);
  c = step(c, d, b ^ (d & (a ^ b)), block[2]!, 17, 606105819);
  b = step(b, c, a ^ (c & (d ^ a)), block[3]!, 22, -1044525330);
  a = step(a, b, d ^ (b & (c ^ d)), block[4]!, 7, -176418897);
  d = step(d, a, c ^ (a & (b ^ c)), block[5]!, 12, 1200080426);
  c = step(c, d, b ^ (d & (a ^ b)), block[6]!, 17, -1473231341);
  b = step(b, c, a ^ (c & (d ^ a)), block[7]!, 22, -45705983);
  a = step(a, b, d ^ (b & (c ^ d)), block[8]!, 7, 1770035416);
  d = step(d, a, c ^ (a & (b ^ c)), block[9]!, 12, -1958414417);
  c = step(c, d, b ^ (d & (a ^ b)), block[10]!, 17, -42063);
  b = step(b, c, a ^ (c & (d ^ a)), block[11]!, 22, -1990404162);
  a = step(a, b, d ^ (b & (c ^ d)), block[12]!, 7, 1804603682);
  d = step(d, a, c ^ (a & (b ^ c)), block[13]!, 12, -40341101);
  c = step(c, d, b ^ (d & (a ^ b)), block[14]!, 17, -1502002290);
  b = step(b, c, a ^ (c & (d ^ a)), block[15]!, 22, 1236535329);
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
}

function secondRound(): void {
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  a = step(a, b, c ^ (d & (b ^ c)), block[1]!, 5, -165796510);
  d = step(d, a, b ^ (c & (a ^ b)), block[6]!, 9, -1069501632);
  c = step(c, d, a ^ (b & (d ^ a)), block[11]!, 14, 643717713);
  b = step(b, c, d ^ (a & (c ^ d)), block[0]!, 20, -373897302);
  a = step(a, b, c ^ (d & (b ^ c)), block[5]!, 5, -701558691);
  d = step(d, a, b ^ (c & (a ^ b)), block[10]!, 9, 38016083);
  c = step(c, d, a ^ (b & (d ^ a)), block[15]!, 14, -660478335);
  b = step(b, c, d ^ (a & (c ^ d)), block[4]!, 20, -405537848);
  a = step(a, b, c ^ (d & (b ^ c)), block[9]!, 5, 568446438);
  d = step(d, a, b ^ (c & (a ^ b)), block[14]!, 9, -1019803690);
  c = step(c, d, a ^ (b & (d ^ a)), block[3]!, 14, -187363961);
  b = step(b, c, d ^ (a & (c ^ d)), block[8]!, 20, 1163531501);
  a = step(a, b, c ^ (d & (b ^ c)), block[13]!, 5, -1444681467);
  d = step(d, a, b ^ (c & (a ^ b)), block[2]!, 9, -51403784);
  c = step(c, d, a ^ (b & (d ^ a)), block[7]!, 14, 1735328473);
  b = step(b, c, d ^ (a & (c ^ d)), block[12]!, 20, -1926607734);
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
}

function thirdRound(): void {
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  a = step(a, b, b ^ c ^ d, block[5]!, 4, -378558);
  d = step(d, a, a ^ b ^ c, block[8]!, 11, -2022574463);
  c = step(c, d, d ^ a ^ b, block[11]!, 16, 1839030562);
  b = step(b, c, c ^ d ^ a, block[14]!, 23, -35309556);
  a = step(a, b, b ^ c ^ d, block[1]!, 4, -1530992060);
  d = step(d, a, a ^ b ^ c, block[4]!, 11, 1272893353);
  c = step(c, d, d ^ a ^ b, block[7]!, 16, -155497632);
  b = step(b, c, c ^ d ^ a, block[10]!, 23, -1094730640);
  a = step(a, b, b ^ c ^ d, block[13]!, 4, 681279174);
  d = step(d, a, a ^ b ^ c, block[0]!, 11, -358537222);
  c = step(c, d, d ^ a ^ b, block[3]!, 16, -722521979);
  b = step(b, c, c ^ d ^ a, block[6]!, 23, 76029189);
  a = step(a, b, b ^ c ^ d, block[9]!, 4, -640364487);
  d = step(d, a, a ^ b ^ c, block[12]!, 11, -421815835);
  c = step(c, d, d ^ a ^ b, block[15]!, 16, 530742520);
  b = step(b, c, c ^ d ^ a, block[2]!, 23, -995338651);
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
}

function fourthRound(): void {
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  a = step(a, b, c ^ (b | ~d), block[0]!, 6, -198630844);
  d = step(d, a, b ^ (a | ~c), block[7]!, 10, 1126891415);
  c = step(c, d, a ^ (d | ~b), block[14]!, 15, -1416354905);
  b = step(b, c, d ^ (c | ~a), block[5]!, 21, -57434055);
  a = step(a, b, c ^ (b | ~d), block[12]!, 6, 1700485571);
  d = step(d, a, b ^ (a | ~c), block[3]!, 10, -1894986606);
  c = step(c, d, a ^ (d | ~b), block[10]!, 15, -1051523);
  b = step(b, c, d ^ (c | ~a), block[1]!, 21, -2054922799);
  a = step(a, b, c ^ (b | ~d), block[8]!, 6, 1873313359);
  d = step(d, a, b ^ (a | ~c), block[15]!, 10, -30611744);
  c = step(c, d, a ^ (d | ~b), block[6]!, 15, -1560198380);
  b = step(b, c, d ^ (c | ~a), block[13]!, 21, 1309151649);
  a = step(a, b, c ^ (b | ~d), block[4]!, 6, -145523070);
  d = step(d, a, b ^ (a | ~c), block[11]!, 10, -1120210379);
  c = step(c, d, a ^ (d | ~b), block[2]!, 15, 718787259);
  b = step(b, c, d ^ (c | ~a), block[9]!, 21, -343485551);
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
}
