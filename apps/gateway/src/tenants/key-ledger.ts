import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type ApiKey, type ApiKeyBalances, type ApiKeyUsage, ApiKeyUsageSchema } from '@mlx-serving/contracts';
import { KeyBudget, type Spent } from './key-budget.ts';

/** How often what was spent goes up; so long may another gateway not know of it. */
const FLUSH_MS = 200;
/** A batch that was not answered by then is sent again. */
const ANSWER_MS = 2_000;

export interface KeyLedgerOptions {
  readonly replicaId: string;
  /** @returns false when the link did not take it */
  readonly send: (usage: ApiKeyUsage) => boolean;
  readonly now?: () => number;
}

interface Batch {
  readonly batch: bigint;
  readonly spending: ReadonlyMap<string, Spent>;
  /** 0: not yet. */
  sentAt: number;
}

/** What the keys spend at this gateway: taken off here at once, sent up in batches, and settled by what comes down. */
export class KeyLedger {
  readonly #options: KeyLedgerOptions;
  readonly #now: () => number;
  readonly #budgets = new Map<string, KeyBudget>();
  #keys: ReadonlyMap<string, ApiKey> = new Map();
  #unanswered: Batch | undefined;
  #batch = 0n;
  #timer: NodeJS.Timeout | undefined;
  /** Of this life of the gateway: batches are numbered anew after a restart. */
  readonly #epoch = randomUUID();

  constructor(options: KeyLedgerOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.flush(), FLUSH_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.flush();
  }

  budgetOf(key: ApiKey): KeyBudget {
    let budget = this.#budgets.get(key.id);
    if (!budget) this.#budgets.set(key.id, (budget = new KeyBudget(key, this.#now)));
    return budget;
  }

  /** Other keys, or other limits. */
  keysChanged(keys: readonly ApiKey[]): void {
    this.#keys = new Map(keys.map((key) => [key.id, key]));
    for (const id of this.#budgets.keys()) if (!this.#keys.has(id)) this.#budgets.delete(id);
    for (const key of keys) this.#budgets.get(key.id)?.update(key);
  }

  /** Sends what was spent since the last batch, or the last batch again when it was not answered. */
  flush(): void {
    if (this.#unanswered && this.#now() - this.#unanswered.sentAt < ANSWER_MS) return;
    this.#unanswered ??= this.#nextBatch();
    if (!this.#unanswered) return;
    const { batch, spending } = this.#unanswered;
    const entries = [...spending].map(([keyId, { requests, tokens }]) => ({ keyId, requests: BigInt(requests), tokens: BigInt(tokens) }));
    this.#unanswered.sentAt = this.#options.send(create(ApiKeyUsageSchema, { batch, epoch: this.#epoch, spending: entries })) ? this.#now() : 0;
  }

  settle({ replicaId, batch, balances, gateways }: ApiKeyBalances): void {
    if (replicaId === this.#options.replicaId && batch === this.#unanswered?.batch) this.#unanswered = undefined;
    for (const balance of balances) {
      const uncounted = this.#unanswered?.spending.get(balance.keyId) ?? { requests: 0, tokens: 0 };
      const key = this.#keys.get(balance.keyId);
      // Of a key that was not used here yet, too: what it has left elsewhere is what it has left here.
      if (key) this.budgetOf(key).settle(balance, uncounted, gateways);
    }
  }

  #nextBatch(): Batch | undefined {
    const spending = new Map<string, Spent>();
    for (const [id, budget] of this.#budgets) {
      const spent = budget.takePending();
      if (spent) spending.set(id, spent);
    }
    return spending.size === 0 ? undefined : { batch: ++this.#batch, spending, sentAt: 0 };
  }
}
