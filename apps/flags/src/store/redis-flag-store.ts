import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { COMMAND_TIMEOUT_MS, type Logger, ServiceError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { AuditBase, AuditHead, AuditMark, AuditTrim, Authorship, CountBatch, DecisionTotals, DeleteFlagWrite, EmergencyWrite, FlagStore, KillRecord, KnownStore, PartialState, RecordResult, RecordWrite, SetFlagWrite, SettleWrite, StoredAuditEntry, StoredFlag, StoredState, StoreListeners, WriteResult } from './flag-store.ts';
import { adoption, type Base, type ExternalChange, inSteps, sha256 } from './external-changes.ts';
import { RedisAuditTrail } from './redis-audit-trail.ts';
import { RedisDecisions } from './redis-decisions.ts';
import { readAuditHead, readChange, readEmergency, readKill, toFields } from './redis-records.ts';
import { ForeseenEntry } from './foreseen-entry.ts';
import { check, load } from './load-scripts.ts';
import { isSame, type LoadAnswer, readLoadAnswer } from './read-load-answer.ts';
import { type ScriptName, scripts } from './redis-scripts.ts';
import { asArguments, DEADLINE_AT, guarded } from './script-arguments.ts';
import { KEY_PARTS } from './script-common.ts';
import { StoreClock } from './store-clock.ts';

export interface RedisFlagStoreOptions {
  readonly redis: Redis;
  /** For what takes its time, such as a read of everything: it has a longer limit, and a kill does not wait behind it. */
  readonly bulk: Redis;
  /** A connection of its own: one that listens cannot do anything else. */
  readonly subscriber: Redis;
  readonly prefix: string;
  readonly logger: Logger;
  /** A clock of this process that only goes forward, in milliseconds. Default: that of `performance`. */
  readonly now?: (() => number) | undefined;
}

type Answer = (string | null)[];

/** How often a read begins anew because other tools write meanwhile; what is left is for the next read. */
const LOAD_ATTEMPTS = 3;

/** The flags in Redis (SPEC F10): the hash `feature_flags`, and beside it what must not be overwritten with it. */
export class RedisFlagStore implements FlagStore {
  readonly #redis: Redis;
  readonly #bulk: Redis;
  readonly #subscriber: Redis;
  readonly #logger: Logger;
  readonly #flags: string;
  readonly #peers: string;
  /** The life of the store that writes are meant for. */
  #epoch = '';
  readonly #clock: StoreClock;
  readonly #foreseen = new ForeseenEntry();
  readonly #keys: readonly string[];
  readonly #trail: RedisAuditTrail;
  readonly #decisions: RedisDecisions;

  constructor({ redis, bulk, subscriber, prefix, logger, now }: RedisFlagStoreOptions) {
    this.#redis = redis;
    this.#bulk = bulk;
    this.#subscriber = subscriber;
    this.#logger = logger;
    this.#clock = new StoreClock(now);
    this.#flags = `${prefix}feature_flags`;
    this.#peers = `${this.#flags}:peers`;
    this.#keys = [this.#flags, ...KEY_PARTS.map((part) => `${this.#flags}:${part}`)];
    this.#trail = new RedisAuditTrail(this.#flags, (command) => this.#attempt(() => command(bulk), bulk));
    this.#decisions = new RedisDecisions(prefix, (command) => this.#attempt(() => command(redis)));
    for (const [name, lua] of Object.entries(scripts)) for (const connection of [redis, bulk]) connection.defineCommand(name, { numberOfKeys: this.#keys.length, lua });
  }

  start({ onChange, onConnected, onPeerMessage }: StoreListeners): void {
    for (const connection of [this.#redis, this.#bulk]) {
      connection.on('ready', () => {
        if (this.#redis.status === 'ready' && this.#bulk.status === 'ready') onConnected();
      });
    }
    this.#subscriber.on('message', (channel, text) => {
      if (channel === this.#peers) return onPeerMessage(text);
      const change = readChange(text);
      if (change) onChange(change);
      else this.#logger.warn({ length: text.length }, 'a message on the channel of changes cannot be read');
    });
    this.#subscriber.on('ready', () => {
      // What was published while nobody listened is caught by the load that follows.
      this.#subscriber.subscribe(`${this.#flags}:changes`, this.#peers).then(onConnected, (error: unknown) => this.#logger.warn({ err: error }, 'cannot listen for changes'));
    });
    for (const connection of [this.#redis, this.#bulk, this.#subscriber]) connection.connect().catch(() => undefined);
  }

  async stop(): Promise<void> {
    for (const connection of [this.#redis, this.#bulk, this.#subscriber]) connection.disconnect();
  }

  async load(known: KnownStore): Promise<StoredState> {
    for (let attempt = 1; ; attempt++) {
      const argv = [String(Date.now()), 'external', '', '', ...asArguments(known), randomBytes(8).toString('hex')];
      const answer = await this.#readAll(load, argv, ['', ':texts', ':revisions', ':kills', ':digests']);
      const { state, changes, nowMs } = readLoadAnswer(answer as LoadAnswer);
      this.#clock.note(nowMs);
      if (!state.lost) this.#epoch = state.epoch;
      this.#foreseen.note(state.revision, state.auditHead);
      if (state.lost || changes.length === 0 || attempt === LOAD_ATTEMPTS) return state;
      let base: Base | undefined = { revision: state.revision, head: state.auditHead };
      for (const step of inSteps(changes)) base &&= await this.#adopt(base, step);
    }
  }

  async check(known: KnownStore): Promise<AuditMark | undefined> {
    const [[same, head, now], flags, texts] = (await this.#readAll(check, ['', '', '', '', ...asArguments(known)], ['', ':texts'])) as [[string, string[], string], string[], string[]];
    this.#clock.note(Number(now));
    return same === '1' && isSame(flags, texts) ? { ...readAuditHead(head), revision: known.revision } : undefined;
  }

  async read(names: readonly string[]): Promise<PartialState> {
    const [flags, killsKey, emergency, revision, revisions] = this.#keys as [string, string, string, string, string];
    const wanted = names.length > 0 ? [...names] : [''];
    const answers = await this.#attempt(() =>
      this.#redis.multi().hmget(flags, ...wanted).hmget(killsKey, ...wanted).hmget(revisions, ...wanted).hgetall(emergency).get(revision).exec(),
    );
    const [texts, killTexts, revisionTexts, fields, current] = (answers ?? []).map(([error, answer]) => {
      if (error) throw this.#toServiceError(error);
      return answer;
    }) as [Answer, Answer, Answer, Record<string, string>, string | null];
    const [found, kills] = [new Map<string, StoredFlag>(), new Map<string, KillRecord>()];
    names.forEach((name, i) => {
      const [text, kill] = [texts[i], readKill(killTexts[i])];
      if (kill) kills.set(name, kill);
      if (typeof text === 'string') found.set(name, { text, revision: BigInt(revisionTexts[i] ?? 0), kill });
    });
    return { revision: BigInt(current ?? 0), flags: found, kills, emergency: readEmergency(new Map(Object.entries(fields))) };
  }

  async revision(): Promise<bigint> {
    return BigInt((await this.#attempt(() => this.#redis.get(`${this.#flags}:revision`))) ?? 0);
  }

  async setFlag(write: SetFlagWrite): Promise<WriteResult> {
    const { name, text, base, ifRevision, fileDigest } = write;
    return this.#write('setFlag', name, [...this.#author(write, 'set'), name, text, sha256(text), base ?? '', sha256(base ?? ''), base === undefined ? '0' : '1', String(ifRevision ?? ''), fileDigest ?? '', ...guarded(write)]);
  }

  async deleteFlag(write: DeleteFlagWrite): Promise<WriteResult> {
    return this.#write('deleteFlag', write.name, [...this.#author(write, 'delete'), write.name, write.base, sha256(write.base), String(write.ifRevision ?? ''), ...guarded(write)]);
  }

  killFlag(name: string, kill: Authorship, always = false): Promise<WriteResult> {
    const text = JSON.stringify({ actor: kill.actor, reason: kill.reason, atMs: kill.atMs });
    const digest = sha256(text);
    const foreseen = this.#foreseen.next({ ...kill, action: kill.action ?? 'kill', flag: name, after: digest });
    return this.#write('killFlag', name, [...this.#author(kill, 'kill', true), name, text, digest, always ? '1' : '0', ...foreseen]);
  }

  reviveFlag(name: string, by: Authorship): Promise<WriteResult> {
    return this.#write('reviveFlag', name, [...this.#author(by, 'revive'), name]);
  }

  async setEmergency(write: EmergencyWrite): Promise<WriteResult> {
    const asText = (value: boolean | undefined): string => (value === undefined ? '' : value ? '1' : '0');
    const onlyOn = write.killSwitch !== false && write.rollbackToBaseline !== false;
    const argv = [...this.#author(write, 'emergency', onlyOn), asText(write.killSwitch), asText(write.rollbackToBaseline), write.fileDigest ?? ''];
    const [outcome, revision, fields] = (await this.#run('setEmergency', argv)) as ['written' | 'unchanged', string, string[]];
    return { outcome, names: [], state: { revision: BigInt(revision), flags: new Map(), kills: new Map(), emergency: readEmergency(toFields(fields)) } };
  }

  async putRecord(write: RecordWrite): Promise<RecordResult> {
    const { kind, id, text = '', base, quiet, fileDigest = '' } = write;
    const shown = text === '' ? '' : (write.shown ?? text);
    const argv = [...this.#author(write, `${kind}.${text === '' ? 'remove' : 'set'}`), kind, id, text, base ? (base.text ?? '') : '*', quiet ? '1' : '0', shown, shown && sha256(shown), fileDigest, ...guarded(write)];
    const [outcome, revision] = (await this.#run('putRecord', argv)) as [RecordResult['outcome'], string];
    return { outcome, revision: BigInt(revision) };
  }

  async settle(write: SettleWrite): Promise<bigint> {
    const { known, summary, fileDigests = new Map<string, string>() } = write;
    this.#epoch = '';
    const [revision] = await this.#run('settle', [...this.#author(write, 'store.accept'), known.epoch, randomBytes(8).toString('hex'), String(known.revision), summary, ...[...fileDigests].flat()]);
    return BigInt(revision as string);
  }

  writeDespiteLoss(): void {
    this.#epoch = '';
  }

  async raiseRevision(atLeast: bigint): Promise<void> {
    await this.#run('raiseRevision', ['', '', '0', '', '', '', String(atLeast)]);
  }

  auditTrail(range?: { after?: string; upToRevision?: bigint }): AsyncGenerator<StoredAuditEntry[]> {
    return this.#trail.entries(range);
  }

  newestAudit(beforeId: string | undefined, count: number): Promise<StoredAuditEntry[]> {
    return this.#trail.newest(beforeId, count);
  }

  auditHead(): Promise<AuditHead> {
    return this.#trail.head();
  }

  auditBase(): Promise<AuditBase> {
    return this.#trail.base();
  }

  changedAt(revisions: readonly bigint[]): Promise<ReadonlyMap<bigint, number>> {
    return this.#trail.changedAt(revisions);
  }

  async trimAudit(trim: AuditTrim): Promise<boolean> {
    const { former, base, summary } = trim;
    const argv = [...this.#author(trim, 'audit.archive'), String(former), String(base.count), base.hash, String(base.revision), String(base.atMs), base.state, summary, sha256(summary)];
    const [outcome] = await this.#run('trimAudit', argv, this.#bulk);
    return outcome === 'written';
  }

  async takeLease(owner: string, ttlMs: number, name = ''): Promise<boolean> {
    const lua = "local owner = redis.call('GET', KEYS[1]) if owner and owner ~= ARGV[1] then return 0 end redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1";
    return (await this.#attempt(() => this.#redis.eval(lua, 1, `${this.#flags}:lease${name && `-${name}`}`, owner, ttlMs))) === 1;
  }

  tellPeers(text: string): void {
    if (this.#redis.status === 'ready') this.#redis.publish(this.#peers, text).catch(() => undefined);
  }

  async fileDigests(): Promise<ReadonlyMap<string, string>> {
    return new Map(Object.entries(await this.#attempt(() => this.#redis.hgetall(`${this.#flags}:file`))));
  }

  addDecisions(counts: ReadonlyMap<string, DecisionTotals>, batch: CountBatch): Promise<void> {
    return this.#decisions.add(counts, batch);
  }

  decisions(name: string): Promise<DecisionTotals> {
    return this.#decisions.of(name);
  }

  /**
   * A script and then everything about the flags, in one transaction. The script goes as its text: one that Redis has
   * forgotten would fail within the transaction.
   */
  async #readAll(lua: string, argv: readonly string[], parts: readonly string[]): Promise<unknown[]> {
    const transaction = this.#bulk.multi().eval(lua, this.#keys.length, ...this.#keys, '', '', ...argv);
    for (const part of parts) transaction.call('HGETALL', `${this.#flags}${part}`);
    const answers = await this.#attempt(() => transaction.exec(), this.#bulk);
    return (answers ?? []).map(([error, answer]) => {
      if (error) throw this.#toServiceError(error);
      return answer;
    });
  }

  /** @returns what the store stands at now, or undefined when somebody wrote to it meanwhile */
  async #adopt(base: Base, changes: readonly ExternalChange[]): Promise<Base | undefined> {
    const { argv, next } = adoption(base, changes, Date.now());
    const [outcome] = await this.#run('adoptFlags', ['', '', '', '', this.#epoch, '', ...argv], this.#bulk);
    return outcome === 'written' ? next : undefined;
  }

  async #write(script: ScriptName, name: string, argv: string[]): Promise<WriteResult> {
    const [outcome, rest, hash] = (await this.#run(script, argv)) as [WriteResult['outcome'], string | Answer, string?];
    if (outcome === 'stale' || outcome === 'not-found' || outcome === 'superseded') return { outcome };
    if (outcome === 'revision-mismatch') return { outcome, revision: BigInt(rest as string) };
    const [revision, text, flagRevision, killText] = rest as Answer;
    const kill = readKill(killText);
    if (hash !== undefined) this.#foreseen.note(BigInt(revision ?? 0), { hash });
    const flags = new Map<string, StoredFlag>();
    if (typeof text === 'string') flags.set(name, { text, revision: BigInt(flagRevision ?? 0), kill });
    return { outcome, names: [name], state: { revision: BigInt(revision ?? 0), flags, kills: new Map(kill ? [[name, kill]] : []), emergency: readEmergency(new Map()) } };
  }

  /** @param isKill a kill is wanted however late it comes; anything else must not come after its caller heard that it was refused */
  #author({ actor, reason, atMs, action }: Authorship, usual: string, isKill = false): string[] {
    const deadline = isKill ? undefined : this.#clock.inMs(COMMAND_TIMEOUT_MS);
    return [actor, reason, String(atMs), action ?? usual, this.#epoch, deadline === undefined ? '' : String(deadline)];
  }

  /** @throws STORE_LOST when the store is not the one that is known here, STORE_UNREACHABLE when the answer would come too late */
  async #run(script: ScriptName, argv: string[], connection = this.#redis): Promise<unknown[]> {
    const commands = connection as unknown as Record<ScriptName, (...args: string[]) => Promise<unknown[]>>;
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#attempt(() => commands[script](...this.#keys, ...argv), connection);
      if (answer[0] === 'lost') throw errors.STORE_LOST();
      if (answer[0] !== 'late') return answer;
      this.#clock.note(Number(answer[1]));
      // Nothing was written. An answer in time says that not Redis was late: its clock has gone ahead of this one, which is known now.
      if (attempt === 2) throw errors.STORE_UNREACHABLE();
      argv = argv.with(DEADLINE_AT, String(this.#clock.inMs(COMMAND_TIMEOUT_MS)));
    }
  }

  /** A command that waited in the client's queue would be carried out long after its caller was told that it failed. */
  async #attempt<T>(command: () => Promise<T>, connection = this.#redis): Promise<T> {
    if (connection.status !== 'ready') throw errors.STORE_UNREACHABLE();
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
