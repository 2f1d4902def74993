/** The round constants of SHA-256 as Lua numbers. */
const ROUND_CONSTANTS = primes(64).map((prime) => fraction(Math.cbrt(prime)));
const INITIAL = primes(8).map((prime) => fraction(Math.sqrt(prime)));

/**
 * A Lua function `sha256(text)` that answers 64 hexadecimal digits. Redis scripts have SHA-1 alone, and the hash of an
 * audit entry must be made in the very step that writes it. About 0.1 ms for each 64 bytes on a slow core, so long texts
 * are never given to it: their digests come from the caller.
 */
export const sha256Lua = `
local SHA_K = {${ROUND_CONSTANTS.join(',')}}
local SHA_H = {${INITIAL.join(',')}}
local function sha256(text)
  local band, bxor, bnot, ror, rshift, tobit = bit.band, bit.bxor, bit.bnot, bit.ror, bit.rshift, bit.tobit
  local H = {unpack(SHA_H)}
  local length = #text
  text = text .. string.char(128) .. string.rep(string.char(0), (55 - length) % 64) .. struct.pack('>I8', length * 8)
  local W = {}
  for at = 1, #text, 64 do
    for i = 1, 16 do W[i] = struct.unpack('>I4', text, at + (i - 1) * 4) end
    for i = 17, 64 do
      local x, y = W[i - 15], W[i - 2]
      W[i] = tobit(W[i - 16] + bxor(ror(x, 7), ror(x, 18), rshift(x, 3)) + W[i - 7] + bxor(ror(y, 17), ror(y, 19), rshift(y, 10)))
    end
    local a, b, c, d, e, f, g, h = unpack(H)
    for i = 1, 64 do
      local t = h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + SHA_K[i] + W[i]
      local u = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c))
      h, g, f, e, d, c, b, a = g, f, e, tobit(d + t), c, b, a, tobit(t + u)
    end
    local add = {a, b, c, d, e, f, g, h}
    for i = 1, 8 do H[i] = tobit(H[i] + add[i]) end
  end
  for i = 1, 8 do H[i] = bit.tohex(H[i]) end
  return table.concat(H)
end
`;

function primes(count: number): number[] {
  const found: number[] = [];
  for (let candidate = 2; found.length < count; candidate++) if (found.every((prime) => candidate % prime !== 0)) found.push(candidate);
  return found;
}

/** The first 32 bits behind the point. */
function fraction(value: number): number {
  return Math.floor((value - Math.floor(value)) * 2 ** 32);
}
