import { hash } from 'node:crypto';

/** Longest text that fits into one block of md5 beside its padding. */
const ONE_BLOCK = 55;
const block = new Int32Array(16);
/** The same block byte by byte: md5 reads its words in little endian, as every machine does that Node.js runs on. */
const bytes = new Uint8Array(block.buffer);
/** The four words of md5's state between its halves. */
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
  if (before === '') return createEndingHash(after, longest);
  return (key) => {
    const length = key.length;
    if (length > longest || !put(key, before.length)) return hash32ByCrypto(before + key + after);
    put(before, 0);
    put(after, before.length + length);
    return finish(around + length);
  };
}

/** For a key that comes first: whole words of it are put together, and those of the ending are ready for each place in a word. */
function createEndingHash(after: string, longest: number): (key: string) => number {
  const endings = [0, 1, 2, 3].map((place) => new Int32Array(new Uint8Array([...new Uint8Array(place), ...Buffer.from(after), 0x80, ...new Uint8Array(67)]).buffer.slice(0, 64)));
  return (key) => {
    const length = key.length;
    if (length > longest) return hash32ByCrypto(key + after);
    const whole = length >> 2;
    let seen = 0;
    for (let word = 0, i = 0; word < whole; word++, i += 4) {
      const first = key.charCodeAt(i);
      const second = key.charCodeAt(i + 1);
      const third = key.charCodeAt(i + 2);
      const fourth = key.charCodeAt(i + 3);
      seen |= first | second | third | fourth;
      block[word] = first | (second << 8) | (third << 16) | (fourth << 24);
    }
    let rest = 0;
    for (let i = whole << 2, shift = 0; i < length; i++, shift += 8) {
      const code = key.charCodeAt(i);
      seen |= code;
      rest |= code << shift;
    }
    if (seen > 127) return hash32ByCrypto(key + after);
    const ending = endings[length & 3]!;
    block[whole] = rest | ending[0]!;
    for (let word = whole + 1; word < 16; word++) block[word] = ending[word - whole]!;
    block[14] = (length + after.length) << 3;
    return firstWord();
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

/**
 * One block of md5 over `block`, unrolled: a call per step would be too much for the compiler to take in. Only the first word of
 * the digest is built, so the last three steps, which do not touch it, are left out. The constants are those of RFC 1321.
 */
function firstWord(): number {
  firstHalf();
  const word = (secondHalf() + 0x67452301) | 0;
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}

function firstHalf(): void {
  const w0 = block[0]!, w1 = block[1]!, w2 = block[2]!, w3 = block[3]!, w4 = block[4]!, w5 = block[5]!, w6 = block[6]!, w7 = block[7]!;
  const w8 = block[8]!, w9 = block[9]!, w10 = block[10]!, w11 = block[11]!, w12 = block[12]!, w13 = block[13]!, w14 = block[14]!, w15 = block[15]!;
  let a = 0x67452301;
  let b = -271733879;
  let c = -1732584194;
  let d = 0x10325476;
  a = (a + (d ^ (b & (c ^ d))) + w0 - 680876936) | 0; a = (b + ((a << 7) | (a >>> 25))) | 0;
  d = (d + (c ^ (a & (b ^ c))) + w1 - 389564586) | 0; d = (a + ((d << 12) | (d >>> 20))) | 0;
  c = (c + (b ^ (d & (a ^ b))) + w2 + 606105819) | 0; c = (d + ((c << 17) | (c >>> 15))) | 0;
  b = (b + (a ^ (c & (d ^ a))) + w3 - 1044525330) | 0; b = (c + ((b << 22) | (b >>> 10))) | 0;
  a = (a + (d ^ (b & (c ^ d))) + w4 - 176418897) | 0; a = (b + ((a << 7) | (a >>> 25))) | 0;
  d = (d + (c ^ (a & (b ^ c))) + w5 + 1200080426) | 0; d = (a + ((d << 12) | (d >>> 20))) | 0;
  c = (c + (b ^ (d & (a ^ b))) + w6 - 1473231341) | 0; c = (d + ((c << 17) | (c >>> 15))) | 0;
  b = (b + (a ^ (c & (d ^ a))) + w7 - 45705983) | 0; b = (c + ((b << 22) | (b >>> 10))) | 0;
  a = (a + (d ^ (b & (c ^ d))) + w8 + 1770035416) | 0; a = (b + ((a << 7) | (a >>> 25))) | 0;
  d = (d + (c ^ (a & (b ^ c))) + w9 - 1958414417) | 0; d = (a + ((d << 12) | (d >>> 20))) | 0;
  c = (c + (b ^ (d & (a ^ b))) + w10 - 42063) | 0; c = (d + ((c << 17) | (c >>> 15))) | 0;
  b = (b + (a ^ (c & (d ^ a))) + w11 - 1990404162) | 0; b = (c + ((b << 22) | (b >>> 10))) | 0;
  a = (a + (d ^ (b & (c ^ d))) + w12 + 1804603682) | 0; a = (b + ((a << 7) | (a >>> 25))) | 0;
  d = (d + (c ^ (a & (b ^ c))) + w13 - 40341101) | 0; d = (a + ((d << 12) | (d >>> 20))) | 0;
  c = (c + (b ^ (d & (a ^ b))) + w14 - 1502002290) | 0; c = (d + ((c << 17) | (c >>> 15))) | 0;
  b = (b + (a ^ (c & (d ^ a))) + w15 + 1236535329) | 0; b = (c + ((b << 22) | (b >>> 10))) | 0;
  a = (a + (c ^ (d & (b ^ c))) + w1 - 165796510) | 0; a = (b + ((a << 5) | (a >>> 27))) | 0;
  d = (d + (b ^ (c & (a ^ b))) + w6 - 1069501632) | 0; d = (a + ((d << 9) | (d >>> 23))) | 0;
  c = (c + (a ^ (b & (d ^ a))) + w11 + 643717713) | 0; c = (d + ((c << 14) | (c >>> 18))) | 0;
  b = (b + (d ^ (a & (c ^ d))) + w0 - 373897302) | 0; b = (c + ((b << 20) | (b >>> 12))) | 0;
  a = (a + (c ^ (d & (b ^ c))) + w5 - 701558691) | 0; a = (b + ((a << 5) | (a >>> 27))) | 0;
  d = (d + (b ^ (c & (a ^ b))) + w10 + 38016083) | 0; d = (a + ((d << 9) | (d >>> 23))) | 0;
  c = (c + (a ^ (b & (d ^ a))) + w15 - 660478335) | 0; c = (d + ((c << 14) | (c >>> 18))) | 0;
  b = (b + (d ^ (a & (c ^ d))) + w4 - 405537848) | 0; b = (c + ((b << 20) | (b >>> 12))) | 0;
  a = (a + (c ^ (d & (b ^ c))) + w9 + 568446438) | 0; a = (b + ((a << 5) | (a >>> 27))) | 0;
  d = (d + (b ^ (c & (a ^ b))) + w14 - 1019803690) | 0; d = (a + ((d << 9) | (d >>> 23))) | 0;
  c = (c + (a ^ (b & (d ^ a))) + w3 - 187363961) | 0; c = (d + ((c << 14) | (c >>> 18))) | 0;
  b = (b + (d ^ (a & (c ^ d))) + w8 + 1163531501) | 0; b = (c + ((b << 20) | (b >>> 12))) | 0;
  a = (a + (c ^ (d & (b ^ c))) + w13 - 1444681467) | 0; a = (b + ((a << 5) | (a >>> 27))) | 0;
  d = (d + (b ^ (c & (a ^ b))) + w2 - 51403784) | 0; d = (a + ((d << 9) | (d >>> 23))) | 0;
  c = (c + (a ^ (b & (d ^ a))) + w7 + 1735328473) | 0; c = (d + ((c << 14) | (c >>> 18))) | 0;
  b = (b + (d ^ (a & (c ^ d))) + w12 - 1926607734) | 0; b = (c + ((b << 20) | (b >>> 12))) | 0;
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
}

/** @returns the first word of the state */
function secondHalf(): number {
  const w0 = block[0]!, w1 = block[1]!, w2 = block[2]!, w3 = block[3]!, w4 = block[4]!, w5 = block[5]!, w6 = block[6]!, w7 = block[7]!;
  const w8 = block[8]!, w9 = block[9]!, w10 = block[10]!, w11 = block[11]!, w12 = block[12]!, w13 = block[13]!, w14 = block[14]!, w15 = block[15]!;
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  a = (a + (b ^ c ^ d) + w5 - 378558) | 0; a = (b + ((a << 4) | (a >>> 28))) | 0;
  d = (d + (a ^ b ^ c) + w8 - 2022574463) | 0; d = (a + ((d << 11) | (d >>> 21))) | 0;
  c = (c + (d ^ a ^ b) + w11 + 1839030562) | 0; c = (d + ((c << 16) | (c >>> 16))) | 0;
  b = (b + (c ^ d ^ a) + w14 - 35309556) | 0; b = (c + ((b << 23) | (b >>> 9))) | 0;
  a = (a + (b ^ c ^ d) + w1 - 1530992060) | 0; a = (b + ((a << 4) | (a >>> 28))) | 0;
  d = (d + (a ^ b ^ c) + w4 + 1272893353) | 0; d = (a + ((d << 11) | (d >>> 21))) | 0;
  c = (c + (d ^ a ^ b) + w7 - 155497632) | 0; c = (d + ((c << 16) | (c >>> 16))) | 0;
  b = (b + (c ^ d ^ a) + w10 - 1094730640) | 0; b = (c + ((b << 23) | (b >>> 9))) | 0;
  a = (a + (b ^ c ^ d) + w13 + 681279174) | 0; a = (b + ((a << 4) | (a >>> 28))) | 0;
  d = (d + (a ^ b ^ c) + w0 - 358537222) | 0; d = (a + ((d << 11) | (d >>> 21))) | 0;
  c = (c + (d ^ a ^ b) + w3 - 722521979) | 0; c = (d + ((c << 16) | (c >>> 16))) | 0;
  b = (b + (c ^ d ^ a) + w6 + 76029189) | 0; b = (c + ((b << 23) | (b >>> 9))) | 0;
  a = (a + (b ^ c ^ d) + w9 - 640364487) | 0; a = (b + ((a << 4) | (a >>> 28))) | 0;
  d = (d + (a ^ b ^ c) + w12 - 421815835) | 0; d = (a + ((d << 11) | (d >>> 21))) | 0;
  c = (c + (d ^ a ^ b) + w15 + 530742520) | 0; c = (d + ((c << 16) | (c >>> 16))) | 0;
  b = (b + (c ^ d ^ a) + w2 - 995338651) | 0; b = (c + ((b << 23) | (b >>> 9))) | 0;
  a = (a + (c ^ (b | ~d)) + w0 - 198630844) | 0; a = (b + ((a << 6) | (a >>> 26))) | 0;
  d = (d + (b ^ (a | ~c)) + w7 + 1126891415) | 0; d = (a + ((d << 10) | (d >>> 22))) | 0;
  c = (c + (a ^ (d | ~b)) + w14 - 1416354905) | 0; c = (d + ((c << 15) | (c >>> 17))) | 0;
  b = (b + (d ^ (c | ~a)) + w5 - 57434055) | 0; b = (c + ((b << 21) | (b >>> 11))) | 0;
  a = (a + (c ^ (b | ~d)) + w12 + 1700485571) | 0; a = (b + ((a << 6) | (a >>> 26))) | 0;
  d = (d + (b ^ (a | ~c)) + w3 - 1894986606) | 0; d = (a + ((d << 10) | (d >>> 22))) | 0;
  c = (c + (a ^ (d | ~b)) + w10 - 1051523) | 0; c = (d + ((c << 15) | (c >>> 17))) | 0;
  b = (b + (d ^ (c | ~a)) + w1 - 2054922799) | 0; b = (c + ((b << 21) | (b >>> 11))) | 0;
  a = (a + (c ^ (b | ~d)) + w8 + 1873313359) | 0; a = (b + ((a << 6) | (a >>> 26))) | 0;
  d = (d + (b ^ (a | ~c)) + w15 - 30611744) | 0; d = (a + ((d << 10) | (d >>> 22))) | 0;
  c = (c + (a ^ (d | ~b)) + w6 - 1560198380) | 0; c = (d + ((c << 15) | (c >>> 17))) | 0;
  b = (b + (d ^ (c | ~a)) + w13 + 1309151649) | 0; b = (c + ((b << 21) | (b >>> 11))) | 0;
  a = (a + (c ^ (b | ~d)) + w4 - 145523070) | 0; a = (b + ((a << 6) | (a >>> 26))) | 0;
  return a;
}
