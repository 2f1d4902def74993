import { createHash } from 'node:crypto';
import type { ApiKey, ApiKeySet } from '@mlx-serving/contracts';
import { errors } from '../errors.ts';

/** Our own keys begin so. Anything else is what OpenAI's clients send because they must send something. */
const OWN_KEY = /^mlxk_[0-9a-f]{12}_/;

/** The keys that came down the flags link last. They hold while the link is down, and are kept on disk. */
export class ApiKeys {
  readonly #required: boolean;
  #byHash: ReadonlyMap<string, ApiKey> = new Map();
  #set: ApiKeySet | undefined;

  /** @param required whether a request without a key is refused */
  constructor(required: boolean) {
    this.#required = required;
  }

  get set(): ApiKeySet | undefined {
    return this.#set;
  }

  apply(set: ApiKeySet): void {
    this.#set = set;
    this.#byHash = new Map(set.keys.map((key) => [key.secretHash, key]));
  }

  /**
   * The key of a request; undefined for one that needs none.
   * @param authorization `Bearer KEY`
   * @throws API_KEY_MISSING or API_KEY_WRONG
   */
  identify(authorization: string | undefined): ApiKey | undefined {
    const secret = /^Bearer +(\S{1,256})$/i.exec(authorization ?? '')?.[1];
    if (secret === undefined) {
      if (this.#required) throw errors.API_KEY_MISSING();
      return undefined;
    }
    if (!this.#required && !OWN_KEY.test(secret)) return undefined;
    const key = this.#byHash.get(createHash('sha256').update(secret).digest('hex'));
    if (!key) throw errors.API_KEY_WRONG({ shown: shorten(secret) });
    return key;
  }
}

/** Enough to know it again, too little to use it. */
function shorten(secret: string): string {
  return secret.length > 24 ? `${secret.slice(0, 9)}…${secret.slice(-2)}` : '…';
}
