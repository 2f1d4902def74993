import type { Rig, Target } from './rig.ts';

/** What one gateway did in one round. */
export interface Trial {
  /** Milliseconds to the first token, one request at a time, p50. */
  readonly first: number;
  /** Wall milliseconds for each stream, 16 at once. */
  readonly perStream: number;
  /** Processor microseconds of the gateway's process for each stream, 16 at once. */
  readonly cpu: number;
}

/** A gateway in the rounds. A `pid` of 0 has no processor time of its own. */
export interface Contender {
  readonly name: string;
  readonly pid: number;
  readonly target: Target;
}

const ALONE_SECONDS = 1;
const TOGETHER_SECONDS = 2;
const TOGETHER = 16;
/** The same for all: who compiles while running needs that long to be as fast as it gets, and nobody is slower for it. */
const WARM_UP_SECONDS = 5;

/** What a chat asks of the fake upstream. Times in microseconds. */
export interface Plan {
  readonly tokens?: number;
  readonly gap?: number;
  readonly size?: number;
  readonly first?: number;
}

/** The body of a chat. @param user chooses our transport */
export function chatBody({ tokens = 20, gap = 0, size = 5, first = 0 }: Plan = {}, { stream = true, user }: { stream?: boolean; user?: string } = {}): string {
  const content = `plan id=%ID% tokens=${tokens} gap=${gap} size=${size} first=${first};`;
  return JSON.stringify({ model: 'bench', stream, messages: [{ role: 'user', content }], ...(user === undefined ? {} : { user }) });
}

async function trialOf(rig: Rig, { name, pid, target }: Contender): Promise<Trial> {
  const alone = await rig.ask('load', { ...target, connections: 1, seconds: ALONE_SECONDS });
  const before = await rig.ask('usage', { pid });
  const together = await rig.ask('load', { ...target, connections: TOGETHER, seconds: TOGETHER_SECONDS });
  const after = await rig.ask('usage', { pid });
  const errors = alone.errors + together.errors;
  if (errors > 0.001 * together.streams) throw new Error(`${name}: ${errors} streams failed: ${together.error ?? alone.error}`);
  return { first: alone.first.p50, perStream: (1_000 * together.seconds) / together.streams, cpu: (1_000 * (after.cpuMs - before.cpuMs)) / together.streams };
}

/** Each round measures every contender once, one behind the other, so that what is compared was measured side by side. */
export class Rounds {
  readonly #rig: Rig;
  readonly #contenders: readonly Contender[];
  readonly #rounds: Map<string, Trial>[] = [];
  readonly #taken = new Map<string, number>();

  constructor(rig: Rig, contenders: readonly Contender[]) {
    this.#rig = rig;
    this.#contenders = contenders;
  }

  /** So that nobody is measured cold. */
  async warmUp(): Promise<void> {
    for (const { target } of this.#contenders) await this.#rig.ask('load', { ...target, connections: TOGETHER, seconds: WARM_UP_SECONDS });
  }

  /** What the contender did in the next round that this reader has not had. */
  async next(reader: string, contender: string): Promise<Trial> {
    const key = `${reader} ${contender}`;
    const index = this.#taken.get(key) ?? 0;
    this.#taken.set(key, index + 1);
    while (this.#rounds.length <= index) this.#rounds.push(await this.#round(this.#rounds.length));
    return this.#rounds[index]?.get(contender) as Trial;
  }

  async #round(number: number): Promise<Map<string, Trial>> {
    const turn = number % this.#contenders.length;
    const inTurn = [...this.#contenders.slice(turn), ...this.#contenders.slice(0, turn)];
    const trials = new Map<string, Trial>();
    for (const contender of inTurn) trials.set(contender.name, await trialOf(this.#rig, contender));
    return trials;
  }
}
