import { createServiceClient, type Flag, Flags } from '@mlx-serving/contracts';
import { type FlagInput, FlagSet, type SegmentInput } from '@mlx-serving/evaluation';
import { flagConfig, flagInEnvironment, segmentDefinition } from '@mlx-serving/policy';

const LOOK_EVERY_MS = 1_000;
const ANSWER_WITHIN_MS = 900;
const EXECUTOR = 'qos_monitor.executor';

/**
 * The flags that turn this service and its parts on, with this replica's name as the key. The last ones that were heard hold;
 * while none were heard nothing is on (SPEC F14).
 */
export class FlagWatch {
  readonly #client: ReturnType<typeof createServiceClient<typeof Flags>> | undefined;
  readonly #key: string;
  readonly #environment: string;
  #flags: FlagSet | undefined;
  #dryRun = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param address `none` when there is no flag service: then everything is on */
  constructor(address: string, key: string, environment: string) {
    this.#client = address === 'none' ? undefined : createServiceClient(Flags, address, { defaultDeadlineMs: ANSWER_WITHIN_MS });
    this.#key = key;
    this.#environment = environment;
  }

  start(): Promise<void> {
    return this.#look();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#client?.close();
  }

  /** Whether the flags were ever heard. */
  get known(): boolean {
    return this.#client === undefined || this.#flags !== undefined;
  }

  isOn(name: string): boolean {
    if (this.#client === undefined) return true;
    return this.#flags?.evaluate(name, { key: this.#key }).enabled ?? false;
  }

  /** `dry_run: true` of the flag `qos_monitor.executor`. */
  get dryRun(): boolean {
    return this.#dryRun;
  }

  async #look(): Promise<void> {
    if (!this.#client) return;
    this.#timer = setTimeout(() => void this.#look(), LOOK_EVERY_MS).unref();
    const snapshot = await this.#client.listFlags({}).then(({ snapshot: found }) => found, () => undefined);
    if (!snapshot) return;
    const flags = new FlagSet();
    flags.apply({
      changed: snapshot.flags.flatMap((flag) => this.#read(flag)),
      changedSegments: snapshot.segments.flatMap(({ name, definitionJson }): SegmentInput[] => {
        const parsed = segmentDefinition.safeParse(readJson(definitionJson));
        return parsed.success ? [{ name, definition: parsed.data }] : [];
      }),
      emergency: snapshot.emergency ?? { killSwitch: false, rollbackToBaseline: false },
    });
    const executor = snapshot.flags.find(({ name }) => name === EXECUTOR);
    this.#dryRun = executor !== undefined && this.#read(executor)[0]?.config.parameters?.['dry_run'] === true;
    this.#flags = flags;
  }

  #read({ name, definitionJson, kill }: Flag): FlagInput[] {
    const parsed = flagConfig.safeParse(readJson(definitionJson));
    return parsed.success ? [{ name, config: flagInEnvironment(parsed.data, this.#environment), killed: kill !== undefined }] : [];
  }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
