import type { Redis } from 'ioredis';
import { type Logger, ServiceError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type {
  DecisionTotals,
  EmergencyWrite,
  FlagChange,
  FlagStore,
  KillRecord,
  PartialState,
  SetFlagWrite,
  StoredFlag,
  StoredState,
  WriteResult,
} from './flag-store.ts';
import { readChange, readEmergency, readKill, toFields } from './redis-records.ts';
import { type ScriptName, scripts } from './redis-scripts.ts';

export interface RedisFlagStoreOptions {
  readonly redis: Redis;
  /** A connection of its own: one that listens cannot do anything else. */
  readonly subscriber: Redis;
  readonly prefix: string;
  readonly logger: Logger;
}

type Answer = (string | null)[];

/** The flags in Redis (SPEC F10): the hash `feature_flags`, and beside it what must not be overwritten with it. */
export class RedisFlagStore implements FlagStore {
  readonly #redis: Redis;
  readonly #subscriber: Redis;
  readonly #logger: Logger;
  readonly #prefix: string;
  readonly #flags: string;
  readonly #keys: readonly string[];

  constructor({ redis, subscriber, prefix, logger }: RedisFlagStoreOptions) {
    this.#redis = redis;
    this.#subscriber = subscriber;
    this.#logger = logger;
    this.#prefix = prefix;
    this.#flags = `${prefix}feature_flags`;
    this.#keys = [this.#flags, ...['kills', 'emergency', 'revision', 'revisions', 'digests', 'file'].map((part) => `${this.#flags}:${part}`)];
    for (const [name, lua] of Object.entries(scripts)) redis.defineCommand(name, { numberOfKeys: this.#keys.length, lua });
  }

  start({ onChange, onConnected }: { onChange: (change: FlagChange) => void; onConnected: () => void }): void {
    this.#redis.on('ready', onConnected);
    this.#subscriber.on('message', (_channel, text) => {
      const change = readChange(text);
      if (change) onChange(change);
      else this.#logger.warn({ length: text.length }, 'a message on the channel of changes cannot be read');
    });
    this.#subscriber.on('ready', () => {
      // What was published while nobody listened is caught by the load that follows.
      this.#subscriber.subscribe(`${this.#flags}:changes`).then(onConnected, (error: unknown) => this.#logger.warn({ err: error }, 'cannot listen for changes'));
    });
    for (const connection of [this.#redis, this.#subscriber]) connection.connect().catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#redis.disconnect();
    this.#subscriber.disconnect();
  }

  async load(known: bigint): Promise<StoredState> {
    const [reset, revision, texts, revisions, kills, emergency] = (await this.#run('load', [String(known)])) as [string, string, ...string[][]];
    const flags = new Map<string, StoredFlag>();
    const revisionOf = toFields(revisions);
    const killOf = toFields(kills);
    for (const [name, text] of toFields(texts)) flags.set(name, { text, revision: BigInt(revisionOf.get(name) ?? 0), kill: readKill(killOf.get(name)) });
    return { revision: BigInt(revision), flags, emergency: readEmergency(toFields(emergency)), reset: reset === '1' };
  }

  async read(names: readonly string[]): Promise<PartialState> {
    const [flags, kills, emergency, revision, revisions] = this.#keys as [string, string, string, string, string];
    const wanted = names.length > 0 ? [...names] : [''];
    const answers = await this.#attempt(() =>
      this.#redis.multi().hmget(flags, ...wanted).hmget(kills, ...wanted).hmget(revisions, ...wanted).hgetall(emergency).get(revision).exec(),
    );
    const [texts, killTexts, revisionTexts, fields, current] = (answers ?? []).map(([error, answer]) => {
      if (error) throw this.#toServiceError(error);
      return answer;
    }) as [Answer, Answer, Answer, Record<string, string>, string | null];
    const found = new Map<string, StoredFlag>();
    names.forEach((name, i) => {
      const text = texts[i];
      if (typeof text === 'string') found.set(name, { text, revision: BigInt(revisionTexts[i] ?? 0), kill: readKill(killTexts[i]) });
    });
    return { revision: BigInt(current ?? 0), flags: found, emergency: readEmergency(new Map(Object.entries(fields))) };
  }

  async revision(): Promise<bigint> {
    return BigInt((await this.#attempt(() => this.#redis.get(`${this.#flags}:revision`))) ?? 0);
  }

  async setFlag({ name, text, base, ifRevision, fileDigest }: SetFlagWrite): Promise<WriteResult> {
    const wanted = ifRevision === undefined ? '' : String(ifRevision);
    return this.#write('setFlag', name, [name, text, base ?? '', base === undefined ? '0' : '1', wanted, fileDigest ?? '']);
  }

  killFlag(name: string, kill: KillRecord): Promise<WriteResult> {
    return this.#write('killFlag', name, [name, JSON.stringify({ actor: kill.actor, reason: kill.reason, atMs: kill.atMs })]);
  }

  reviveFlag(name: string): Promise<WriteResult> {
    return this.#write('reviveFlag', name, [name]);
  }

  async setEmergency(write: EmergencyWrite): Promise<WriteResult> {
    const asText = (value: boolean | undefined): string => (value === undefined ? '' : value ? '1' : '0');
    const argv = [asText(write.killSwitch), asText(write.rollbackToBaseline), write.actor, write.reason, String(write.atMs), write.fileDigest ?? ''];
    const [outcome, revision, fields] = (await this.#run('setEmergency', argv)) as ['written' | 'unchanged', string, string[]];
    return { outcome, names: [], state: { revision: BigInt(revision), flags: new Map(), emergency: readEmergency(toFields(fields)) } };
  }

  async fileDigests(): Promise<ReadonlyMap<string, string>> {
    return new Map(Object.entries(await this.#attempt(() => this.#redis.hgetall(`${this.#flags}:file`))));
  }

  async addDecisions(counts: ReadonlyMap<string, DecisionTotals>): Promise<void> {
    const batch = this.#redis.multi();
    for (const [name, { enabled, disabled }] of counts) {
      if (enabled > 0n) batch.incrby(`${this.#prefix}flag:${name}:enabled`, String(enabled));
      if (disabled > 0n) batch.incrby(`${this.#prefix}flag:${name}:disabled`, String(disabled));
    }
    await this.#attempt(() => batch.exec());
  }

  async decisions(name: string): Promise<DecisionTotals> {
    const keys = ['enabled', 'disabled'].map((kind) => `${this.#prefix}flag:${name}:${kind}`);
    const [enabled, disabled] = await this.#attempt(() => this.#redis.mget(...keys));
    return { enabled: BigInt(enabled ?? 0), disabled: BigInt(disabled ?? 0) };
  }

  async #write(script: ScriptName, name: string, argv: string[]): Promise<WriteResult> {
    const [outcome, rest] = (await this.#run(script, argv)) as [WriteResult['outcome'], string | Answer];
    if (outcome === 'stale' || outcome === 'not-found') return { outcome };
    if (outcome === 'revision-mismatch') return { outcome, revision: BigInt(rest as string) };
    const [revision, text, flagRevision, kill] = rest as Answer;
    const flags = new Map<string, StoredFlag>();
    if (typeof text === 'string') flags.set(name, { text, revision: BigInt(flagRevision ?? 0), kill: readKill(kill) });
    return { outcome, names: [name], state: { revision: BigInt(revision ?? 0), flags, emergency: readEmergency(new Map()) } };
  }

  #run(script: ScriptName, argv: string[]): Promise<unknown> {
    const commands = this.#redis as unknown as Record<ScriptName, (...args: string[]) => Promise<unknown>>;
    return this.#attempt(() => commands[script](...this.#keys, ...argv));
  }

  /** A command that waited in the client's queue would be carried out long after its caller was told that it failed. */
  async #attempt<T>(command: () => Promise<T>): Promise<T> {
    if (this.#redis.status !== 'ready') throw errors.STORE_UNREACHABLE();
    try {
      return await command();
    } catch (error) {
      throw this.#toServiceError(error);
    }
  }

  #toServiceError(error: unknown): ServiceError {
    const cannotServe = /^(LOADING|READONLY|MISCONF|OOM|MASTERDOWN|NOREPLICAS|BUSY|CLUSTERDOWN)/;
    if (error instanceof Error && error.name === 'ReplyError' && !cannotServe.test(error.message)) return ServiceError.from(error);
    return errors.STORE_UNREACHABLE({}, { cause: error });
  }
}
