import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileIfPresent, StartupError, writeFileAtomically } from '@mlx-serving/service-kit';

/** Shortest token that is taken, in characters. */
const MIN_LENGTH = 16;

/**
 * Reads the token's file, or makes it: 32 random bytes in hexadecimal, readable by its owner only.
 * @throws StartupError when the file holds too little to be a secret
 */
export async function readOrCreateToken(path: string): Promise<string> {
  const bytes = await readFileIfPresent(path);
  if (bytes === undefined) {
    const token = randomBytes(32).toString('hex');
    await writeFileAtomically(path, `${token}\n`, 0o600);
    return token;
  }
  const token = Buffer.from(bytes).toString('utf8').trim();
  if (token.length < MIN_LENGTH) throw new StartupError(`${path} holds no admin token of at least ${MIN_LENGTH} characters. Remove the file and a new one is made.`);
  return token;
}

/** Compares in a time that says nothing about where the two differ. */
export function isSameToken(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
