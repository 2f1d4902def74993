import { setImmediate as nextTurn } from 'node:timers/promises';
import { z } from 'zod';
import { type Logger, readFileIfPresent, writeFileAtomically } from '@mlx-serving/service-kit';
import type { FlagReplicas } from '../link/link-handler.ts';
import type { RecordKind, StoredState } from '../store/flag-store.ts';
import type { LiveFlag, LiveFlags } from './live-flags.ts';

const WRITE_EVERY_MS = 250;
/** Flags that are encoded before other work gets its turn. */
const SLICE = 100;
/** The text of each flag. A flag that stays the same is encoded once. */
const encoded = new WeakMap<LiveFlag, string>();

const kill = z.object({ actor: z.string(), reason: z.string(), atMs: z.number() });
const texts = z.record(z.string(), z.string());
const kept = z.object({
  epoch: z.string(),
  revision: z.string().transform(BigInt),
  takenAtMs: z.number(),
  auditHead: z.object({ count: z.number(), hash: z.string(), revision: z.string().default('0').transform(BigInt) }),
  flags: z.record(z.string(), z.object({ text: z.string(), revision: z.string().transform(BigInt) })),
  kills: z.record(z.string(), kill),
  emergency: kill.extend({ killSwitch: z.boolean(), rollbackToBaseline: z.boolean() }),
  /** Of what was last applied from the configuration file. */
  fileDigests: texts.default({}),
  /** Gateways that were linked, and are still at work. */
  gateways: z.array(z.string()).default([]),
  records: z.object({ segments: texts, tokens: texts, pending: texts, rollouts: texts, 'api-keys': texts.default({}) }),
});

/** The flags in force, on disk: what a start without the store serves (SPEC F14). Readable by its owner only. */
export class KeptState {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #live: LiveFlags;
  readonly #replicas: Pick<FlagReplicas, 'ids' | 'absent' | 'remember'>;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string, live: LiveFlags, replicas: Pick<FlagReplicas, 'ids' | 'absent' | 'remember'>, logger: Logger) {
    this.#path = path;
    this.#live = live;
    this.#replicas = replicas;
    this.#logger = logger;
  }

  /** @returns false when nothing is kept, or it cannot be read, which is logged */
  async restore(): Promise<boolean> {
    try {
      const bytes = await readFileIfPresent(this.#path);
      if (!bytes) return false;
      const { takenAtMs, gateways, fileDigests, ...state } = toState(kept.parse(JSON.parse(Buffer.from(bytes).toString('utf8'))));
      this.#replicas.remember(gateways);
      this.#live.replace(state, takenAtMs);
      this.#live.fileDigests = new Map(Object.entries(fileDigests));
      this.#logger.info({ revision: String(state.revision), flags: state.flags.size, ageMs: Date.now() - takenAtMs }, 'flags taken from the disk until the store answers');
      return true;
    } catch (error) {
      this.#logger.warn({ file: this.#path, problem: String(error) }, 'the kept flags cannot be read');
      return false;
    }
  }

  /** Writes soon; many changes cost one write. */
  save(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.write();
    }, WRITE_EVERY_MS).unref();
  }

  write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(async () => {
      if (this.#live.takenAtMs === undefined) return;
      await writeFileAtomically(this.#path, await this.#text(), 0o600).catch((error: unknown) => this.#logger.warn({ file: this.#path, problem: String(error) }, 'the flags cannot be kept on disk'));
    });
    return this.#writing;
  }

  async #text(): Promise<string> {
    const { epoch, storeRevision, takenAtMs, auditHead, flags, kills, emergency, records, fileDigests } = this.#live;
    const maps = Object.fromEntries(Object.entries<ReadonlyMap<string, string>>(records).map(([kind, map]) => [kind, Object.fromEntries<string>(map)]));
    const rest = JSON.stringify({ epoch, revision: String(storeRevision), takenAtMs, auditHead: { ...auditHead, revision: String(auditHead.revision) }, kills: Object.fromEntries(kills), emergency, fileDigests: Object.fromEntries(fileDigests), gateways: [...this.#replicas.ids, ...this.#replicas.absent], records: maps });
    return `{"flags":{${(await encode(flags)).join(',')}},${rest.slice(1)}`;
  }
}

/** In slices: thousands of flags at once would hold a kill up. */
async function encode(flags: readonly LiveFlag[]): Promise<string[]> {
  const texts: string[] = [];
  let fresh = 0;
  for (const flag of flags) {
    const { name, text, revision } = flag;
    const known = encoded.get(flag);
    if (known === undefined && ++fresh % SLICE === 0) await nextTurn();
    const own = known ?? `${JSON.stringify(name)}:${JSON.stringify({ text, revision: String(revision) })}`;
    if (known === undefined) encoded.set(flag, own);
    texts.push(own);
  }
  return texts;
}

function toState(file: z.output<typeof kept>): StoredState & { takenAtMs: number; gateways: string[]; fileDigests: Record<string, string> } {
  const kills = new Map(Object.entries(file.kills));
  const recordsOf = (kind: RecordKind): Map<string, string> => new Map(Object.entries(file.records[kind]));
  return {
    ...file,
    lost: false,
    kills,
    flags: new Map(Object.entries(file.flags).map(([name, flag]) => [name, { ...flag, kill: kills.get(name) }])),
    records: { segments: recordsOf('segments'), tokens: recordsOf('tokens'), pending: recordsOf('pending'), rollouts: recordsOf('rollouts'), 'api-keys': recordsOf('api-keys') },
  };
}
