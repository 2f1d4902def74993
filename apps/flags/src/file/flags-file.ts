import { createHash } from 'node:crypto';
import { checkFeatureFlagsFile, type FeatureFlagsFile, featureFlagsFile, flagsOfFile, segmentsOfFile } from '@mlx-serving/policy';
import { ConfigFile, type Logger } from '@mlx-serving/service-kit';
import type { FlagWriter } from '../flags/flag-writer.ts';
import type { SegmentsService } from '../segments/segments-service.ts';
import { mergeDefinition } from '../snapshot/decode-definition.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';
import { type Authorship, EMERGENCY_NAME, type FlagStore } from '../store/flag-store.ts';

export interface FlagsFileOptions {
  readonly path: string;
  readonly store: FlagStore;
  readonly live: LiveFlags;
  readonly writer: FlagWriter;
  readonly segments: SegmentsService;
  readonly logger: Logger;
  /** Called with each file that is taken over. */
  readonly onTaken: (file: FeatureFlagsFile) => void;
  readonly onRefused: () => void;
  readonly onWrite: () => void;
}

/**
 * The flags that a file declares. Only those whose own text in the file changed since it was last applied are written,
 * so an edit of one flag does not undo what operators did to the others (SPEC F13).
 */
export class FlagsFile {
  readonly #options: FlagsFileOptions;
  readonly #file: ConfigFile<typeof featureFlagsFile>;
  #latest: FeatureFlagsFile | undefined;
  #pending = false;
  #applying: Promise<void> = Promise.resolve();

  constructor(options: FlagsFileOptions) {
    this.#options = options;
    this.#file = new ConfigFile({
      path: options.path,
      schema: featureFlagsFile,
      crossCheck: checkFeatureFlagsFile,
      logger: options.logger,
      onChange: (value) => this.#take(value),
      onRefused: () => options.onRefused(),
    });
  }

  /** Reads the file and follows it. A file that is refused leaves the flags of the store in force. */
  async start(): Promise<void> {
    await this.#file.reload();
    this.#file.watch();
  }

  stop(): void {
    this.#file.stop();
  }

  async reload(): Promise<void> {
    await this.#file.reload();
    await this.applyPending();
  }

  /** Applies what could not be applied yet. `everything` compares the whole file with the store once more. */
  applyPending(everything = false): Promise<void> {
    this.#pending ||= everything && this.#latest !== undefined;
    this.#applying = this.#applying.then(() => this.#apply());
    return this.#applying;
  }

  #take(value: FeatureFlagsFile): Promise<void> {
    this.#latest = value;
    this.#options.onTaken(value);
    this.#pending = true;
    return this.applyPending();
  }

  async #apply(): Promise<void> {
    const { live, logger, path } = this.#options;
    const file = this.#latest;
    if (!this.#pending || !file || live.takenAtMs === undefined) return;
    this.#pending = false;
    try {
      const names = await this.#write(file);
      if (names.length > 0) logger.info({ file: path, flags: names }, 'flags of the file applied');
    } catch (error) {
      this.#pending = true;
      logger.warn({ file: path, problem: error instanceof Error ? error.message : String(error) }, 'the file waits for the flag store');
    }
  }

  get #author(): Authorship {
    return { actor: `file:${this.#options.path}`, reason: 'changed in the configuration file', action: 'file', atMs: Date.now() };
  }

  /** @returns the names of the flags that were written */
  async #write(file: FeatureFlagsFile): Promise<string[]> {
    const { store, writer, live, onWrite } = this.#options;
    writer.assertWritable();
    const applied = await store.fileDigests();
    const names = await this.#writeSegments(file, applied);
    const flags = flagsOfFile(file);
    for (const [name, config] of flags) {
      const fileDigest = digestOf(ownEntry(file, name, flags));
      if (applied.get(name) === fileDigest) continue;
      const build = () => {
        const base = live.storedText(name);
        return { name, text: mergeDefinition(base, config, false), base, fileDigest, ...this.#author };
      };
      if ((await writer.write(name, build)).outcome === 'unchanged') continue;
      names.push(name);
      onWrite();
    }
    const fileDigest = digestOf(file.emergency);
    if (applied.get(EMERGENCY_NAME) !== fileDigest) await this.#latchEmergency(file.emergency, fileDigest);
    live.fileDigests = names.length > 0 || applied.get(EMERGENCY_NAME) !== fileDigest ? await store.fileDigests() : applied;
    return names;
  }

  async #writeSegments(file: FeatureFlagsFile, applied: ReadonlyMap<string, string>): Promise<string[]> {
    const names: string[] = [];
    for (const [name, definition] of segmentsOfFile(file)) {
      const digest = digestOf(definition);
      if (applied.get(`segments:${name}`) === digest) continue;
      const { actor, reason } = this.#author;
      await this.#options.segments.set(name, JSON.stringify(definition), { actor, reason }, digest);
      names.push(`segment ${name}`);
    }
    return names;
  }

  /** A switch that is true latches the emergency; one that is false never lifts it. */
  async #latchEmergency(switches: FeatureFlagsFile['emergency'], fileDigest: string): Promise<void> {
    const { store, writer } = this.#options;
    const { actor, atMs } = this.#author;
    const result = await store.setEmergency({
      killSwitch: switches.kill_switch || undefined,
      rollbackToBaseline: switches.rollback_to_baseline || undefined,
      actor,
      reason: 'emergency in the configuration file',
      atMs,
      fileDigest,
    });
    if ('state' in result) await writer.putInForce(result);
  }
}

/** What the file says about one flag itself, without its sub-features. */
function ownEntry(file: FeatureFlagsFile, name: string, flags: ReadonlyMap<string, unknown>): object {
  const entry = name.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], file) as object;
  return Object.fromEntries(Object.entries(entry).filter(([key]) => !flags.has(`${name}.${key}`)));
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
