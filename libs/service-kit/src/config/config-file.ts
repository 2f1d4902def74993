import { readFile, stat } from 'node:fs/promises';
import type { z } from 'zod';
import type { Logger } from '../logger.ts';
import { ConfigError } from './config-error.ts';
import { type CrossCheck, parseYaml } from './parse-yaml.ts';

export interface ConfigFileOptions<S extends z.ZodType> {
  readonly path: string;
  readonly schema: S;
  readonly crossCheck?: CrossCheck<z.output<S>>;
  readonly logger: Logger;
  /** How often the file is looked at, in milliseconds. A change is read once it has stayed the same for as long. Default: 250. */
  readonly pollMs?: number;
  /** Called with the new value after each reload that changed the text. */
  readonly onChange?: (value: z.output<S>, text: string) => void | Promise<void>;
  /** Called when a changed file was refused. */
  readonly onRefused?: (error: ConfigError) => void;
}

/**
 * One configuration file that is read, checked, watched and swapped whole.
 * An invalid file changes nothing: the old value stays, and the log says file, line and column (SPEC F12).
 * The file is polled by path, so editors that replace it and symbolic links that are swapped are both seen.
 */
export class ConfigFile<S extends z.ZodType> {
  readonly #options: ConfigFileOptions<S>;
  #value: z.output<S> | undefined;
  #text = '';
  #reloading: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  /** What the file looked like when it was last read, and when it was last looked at. */
  #readMark = '';
  #seenMark = '';

  constructor(options: ConfigFileOptions<S>) {
    this.#options = options;
  }

  get value(): z.output<S> {
    if (this.#value === undefined) throw new Error(`${this.#options.path} was not loaded yet`);
    return this.#value;
  }

  /** The text of the value in force. */
  get text(): string {
    return this.#text;
  }

  /** @throws ConfigError when the file is missing or invalid */
  async load(): Promise<z.output<S>> {
    const text = await this.#read();
    this.#value = this.#parse(text);
    this.#text = text;
    return this.#value;
  }

  watch(): void {
    this.#timer ??= setInterval(() => void this.#look(), this.#options.pollMs ?? 250).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Re-reads the file. Never rejects: a refused file is logged and reported to `onRefused`. Runs one at a time. */
  reload(): Promise<void> {
    this.#reloading = this.#reloading.then(() => this.#reloadOnce());
    return this.#reloading;
  }

  /** Reads a changed file on the second look at which it is the same, so a file that is still being written is left alone. */
  async #look(): Promise<void> {
    const mark = await this.#mark();
    const settled = mark === this.#seenMark;
    this.#seenMark = mark;
    if (settled && mark !== this.#readMark) await this.reload();
  }

  async #mark(): Promise<string> {
    const found = await stat(this.#options.path, { bigint: true }).catch(() => undefined);
    return found ? [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join() : 'missing';
  }

  async #reloadOnce(): Promise<void> {
    const { logger, path, onChange, onRefused } = this.#options;
    try {
      const text = await this.#read();
      if (text === this.#text) return;
      const value = this.#parse(text);
      await onChange?.(value, text);
      this.#value = value;
      this.#text = text;
      logger.info({ file: path }, 'configuration reloaded');
    } catch (error) {
      if (error instanceof ConfigError) onRefused?.(error);
      logger.warn({ file: path, problem: error instanceof Error ? error.message : String(error) }, 'configuration refused, the old one stays');
    }
  }

  async #read(): Promise<string> {
    // Taken before the text: a change in between is seen at the next look.
    this.#readMark = await this.#mark();
    try {
      return await readFile(this.#options.path, 'utf8');
    } catch (error) {
      throw new ConfigError(this.#options.path, [{ line: 1, column: 1, path: '', message: `The file cannot be read (${(error as NodeJS.ErrnoException).code}).` }]);
    }
  }

  #parse(text: string): z.output<S> {
    return parseYaml(this.#options.path, text, this.#options.schema, this.#options.crossCheck);
  }
}
