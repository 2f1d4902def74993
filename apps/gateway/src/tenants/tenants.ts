import { type ApiKeyBalances, type ApiKeySet, type ApiKeySetSchema, type ApiKeyUsage } from '@mlx-serving/contracts';
import type { RuntimeFile } from '@mlx-serving/policy';
import type { StateFile } from '../decision/state-file.ts';
import { ApiKeys } from './api-keys.ts';
import { createReadCaller, type ReadCaller } from './caller-service.ts';
import { KeyLedger } from './key-ledger.ts';

export interface TenantsOptions {
  readonly replicaId: string;
  /** Whether a request without a key is refused. */
  readonly required: boolean;
  readonly file: StateFile<typeof ApiKeySetSchema>;
  readonly routing: () => RuntimeFile['routing'];
}

/** Who may call this gateway, and how much: the keys, what they spend, and who a request's caller is. */
export class Tenants {
  readonly readCaller: ReadCaller;
  readonly #keys: ApiKeys;
  readonly #ledger: KeyLedger;
  readonly #file: StateFile<typeof ApiKeySetSchema>;
  #send: (usage: ApiKeyUsage) => boolean = () => false;

  constructor({ replicaId, required, file, routing }: TenantsOptions) {
    this.#keys = new ApiKeys(required);
    this.#ledger = new KeyLedger({ replicaId, send: (usage) => this.#send(usage) });
    this.#file = file;
    this.readCaller = createReadCaller({ keys: this.#keys, ledger: this.#ledger, routing });
  }

  /** Takes up the keys that held when the gateway stopped. */
  async loadKept(): Promise<void> {
    const set = await this.#file.load();
    if (set) this.#hold(set);
  }

  start(send: (usage: ApiKeyUsage) => boolean): void {
    this.#send = send;
    this.#ledger.start();
  }

  stop(): void {
    this.#ledger.stop();
  }

  applyKeys(set: ApiKeySet): void {
    this.#hold(set);
    this.#file.save(set);
  }

  settle(balances: ApiKeyBalances): void {
    this.#ledger.settle(balances);
  }

  /** Resolves once the keys are on disk. */
  settled(): Promise<void> {
    return this.#file.settled();
  }

  #hold(set: ApiKeySet): void {
    this.#keys.apply(set);
    this.#ledger.keysChanged(set.keys);
  }
}
