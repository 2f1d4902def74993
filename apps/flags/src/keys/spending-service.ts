import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type ApiKey, type ApiKeyBalanceSchema, type ApiKeyUsage, FlagsLinkResponseSchema } from '@mlx-serving/contracts';
import type { Logger } from '@mlx-serving/service-kit';
import type { FlagReplicas } from '../link/link-handler.ts';
import type { FlagPeers } from '../peers/flag-peers.ts';
import type { KeyService } from './key-service.ts';
import type { Balance, RedisSpending } from './redis-spending.ts';

export interface SpendingServiceOptions {
  readonly store: Pick<RedisSpending, 'charge'>;
  readonly keys: Pick<KeyService, 'get'>;
  readonly replicas: Pick<FlagReplicas, 'broadcast' | 'ids'>;
  readonly peers: Pick<FlagPeers, 'gatewaysElsewhere'>;
  readonly logger: Logger;
}

type BalanceMessage = MessageInitShape<typeof ApiKeyBalanceSchema>;

/** Takes what gateways have spent to the store, and tells every gateway what is left. */
export class SpendingService {
  readonly #options: SpendingServiceOptions;

  constructor(options: SpendingServiceOptions) {
    this.#options = options;
  }

  /** Never rejects: a batch that cannot be written is not answered, and the gateway sends it again. What was written of it by then counts once. */
  async take(replicaId: string, { batch, epoch, spending }: ApiKeyUsage): Promise<void> {
    const { keys, store, replicas, peers, logger } = this.#options;
    try {
      const balances: BalanceMessage[] = [];
      // An older gateway names no life of its own, so its numbers say nothing.
      const id = epoch === '' ? undefined : { gateway: replicaId, epoch, number: batch };
      for (const { keyId, requests, tokens } of spending) {
        const key = keys.get(keyId);
        if (key) balances.push(toMessage(keyId, await store.charge(key, { requests: Number(requests), tokens: Number(tokens) }, id)));
      }
      const gateways = replicas.ids.length + peers.gatewaysElsewhere().length;
      replicas.broadcast(create(FlagsLinkResponseSchema, { message: { case: 'apiKeyBalances', value: { replicaId, batch, balances, gateways } } }));
    } catch (error) {
      logger.debug({ replica: replicaId, problem: String(error) }, 'what keys have spent waits for the store');
    }
  }

  /** What is left of a key's limits; undefined while the store is away. */
  async balanceOf(key: ApiKey): Promise<BalanceMessage | undefined> {
    try {
      return toMessage(key.id, await this.#options.store.charge(key, { requests: 0, tokens: 0 }));
    } catch {
      return undefined;
    }
  }
}

function toMessage(keyId: string, { requestsLeft, tokensLeft, tokensToday, tokensThisMonth }: Balance): BalanceMessage {
  return { keyId, requestsLeft, tokensLeft, tokensToday: BigInt(tokensToday), tokensThisMonth: BigInt(tokensThisMonth) };
}
