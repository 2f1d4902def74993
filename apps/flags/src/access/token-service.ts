import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { errors } from '../errors.ts';
import type { FlagWriter } from '../flags/flag-writer.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import { readText } from '../store/read-text.ts';

const MAX_TOKENS = 500;
/** Who acts with the root token; no other token has this name. */
export const ROOT_ACTOR = 'admin';

const description = z.object({
  name: z.string().regex(/^[\w.@-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, @, _ and -').refine((name) => name !== ROOT_ACTOR, 'is the name of the root token'),
  role: z.enum(['viewer', 'operator', 'admin']),
});
const record = description.extend({ hash: z.string(), createdAtMs: z.number(), createdBy: z.string() });

export interface AccessToken extends z.infer<typeof description> {
  readonly id: string;
  readonly createdAtMs: number;
  readonly createdBy: string;
}

/**
 * Tokens of the admin interface and their roles (SPEC F23). The store holds only a SHA-256 of each; the secret has 256
 * random bits, so that a slow hash would add nothing. Answered from memory: also while the store is away.
 */
export class TokenService {
  readonly #live: LiveFlags;
  readonly #writer: FlagWriter;

  constructor(live: LiveFlags, writer: FlagWriter) {
    this.#live = live;
    this.#writer = writer;
  }

  list(): AccessToken[] {
    return this.#all().map(({ hash: _, ...token }) => token);
  }

  /** @returns the token, and its secret, which nobody can be told again */
  async create(asked: { name: string; role: string; actor: string }): Promise<{ token: AccessToken; secret: string }> {
    const parsed = description.safeParse({ name: asked.name, role: asked.role });
    if (!parsed.success) throw errors.TOKEN_INVALID({ problem: parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ') });
    if (this.list().some(({ name }) => name === asked.name)) throw errors.TOKEN_INVALID({ problem: `There is a token ${asked.name} already: revoke it first.` });
    if (this.#live.records.tokens.size >= MAX_TOKENS) throw errors.TOKEN_INVALID({ problem: `There are ${MAX_TOKENS} tokens already.` });
    const id = randomBytes(6).toString('hex');
    const secret = `mls_${id}_${randomBytes(32).toString('base64url')}`;
    const token = { ...parsed.data, createdAtMs: Date.now(), createdBy: asked.actor };
    const text = JSON.stringify({ ...token, hash: sha256(secret) });
    await this.#writer.putRecord({ kind: 'tokens', id, text, shown: JSON.stringify(token), actor: asked.actor, reason: '', atMs: token.createdAtMs });
    return { token: { id, ...token }, secret };
  }

  async revoke(id: string, actor: string): Promise<void> {
    if (!this.#live.records.tokens.has(id)) throw errors.TOKEN_UNKNOWN();
    await this.#writer.putRecord({ kind: 'tokens', id, text: undefined, actor, reason: '', atMs: Date.now() });
  }

  /** @throws TOKEN_UNKNOWN */
  authenticate(secretHash: string): AccessToken {
    const found = this.#all().find(({ hash }) => hash === secretHash);
    if (!found) throw errors.TOKEN_UNKNOWN();
    const { hash: _, ...token } = found;
    return token;
  }

  #all(): (AccessToken & { hash: string })[] {
    return [...this.#live.records.tokens].flatMap(([id, text]) => {
      const token = readText(record, text);
      return token ? [{ id, ...token }] : [];
    });
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
