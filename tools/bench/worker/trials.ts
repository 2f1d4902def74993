import { quantile } from '../statistics.ts';
import { freshPrompt } from './prompts.ts';
import type { Call, Server, Timing } from './servers.ts';

/** What one trial gives: milliseconds, or milliseconds a token. */
export interface TrialResult {
  readonly p50: number;
  readonly p95: number;
  /** Wall time of the whole trial for each token of all answers. */
  readonly perToken: number;
}

export type CallSettings = Pick<Call, 'flags' | 'allow'>;

function resultOf(timings: readonly Timing[], wall: number): TrialResult {
  const firsts = timings.map(({ first }) => first);
  const tokens = timings.reduce((sum, timing) => sum + timing.tokens, 0);
  return { p50: quantile(firsts, 0.5), p95: quantile(firsts, 0.95), perToken: wall / tokens };
}

async function together(server: Server, calls: readonly Call[]): Promise<TrialResult> {
  const began = performance.now();
  const timings = await Promise.all(calls.map((call) => server.generate(call)));
  return resultOf(timings, performance.now() - began);
}

/** So many callers at once, each with a prompt of its own. */
export function cold(server: Server, callers: number, settings: CallSettings): Promise<TrialResult> {
  return together(server, Array.from({ length: callers }, () => ({ prompt: freshPrompt(200), maxTokens: 64, ...settings })));
}

/** So many callers at once, whose prompts begin with the same 600 tokens; somebody has asked with them before. */
export async function sharedPrefix(server: Server, callers: number, settings: CallSettings): Promise<TrialResult> {
  const prefix = freshPrompt(600);
  await server.generate({ prompt: `${prefix} ${freshPrompt(20)}`, maxTokens: 4, ...settings });
  return together(server, Array.from({ length: callers }, () => ({ prompt: `${prefix} ${freshPrompt(20)}`, maxTokens: 16, ...settings })));
}

/** The same 200 tokens again: its first answer and its second. */
export async function repeat(server: Server, settings: CallSettings): Promise<{ cold: number; again: number }> {
  const call = { prompt: freshPrompt(200), maxTokens: 4, ...settings };
  const { first } = await server.generate(call);
  return { cold: first, again: (await server.generate(call)).first };
}

/** So many streams, once each of them has its first token, and their ends. */
async function streams(server: Server, count: number, maxTokens: number, settings: CallSettings): Promise<Promise<Timing>[]> {
  const running = Array.from({ length: count }, () => {
    let begun: () => void = () => undefined;
    const firstToken = new Promise<void>((resolve) => (begun = resolve));
    return { firstToken, end: server.generate({ prompt: freshPrompt(50), maxTokens, ...settings, onFirst: begun }) };
  });
  await Promise.all(running.map(({ firstToken }) => firstToken));
  return running.map(({ end }) => end);
}

/** Short requests that arrive while others decode. */
export async function arrival(server: Server, settings: CallSettings): Promise<number> {
  const running = await streams(server, 2, 160, settings);
  const firsts: number[] = [];
  for (let index = 0; index < 3; index++) firsts.push((await server.generate({ prompt: freshPrompt(20), maxTokens: 2, ...settings })).first);
  await Promise.all(running);
  return quantile(firsts, 0.5);
}

/** The 95th percentile of two streams' gaps while three prompts of 600 tokens come, one after the other. */
export async function gapWhilePrefilling(server: Server, settings: CallSettings): Promise<number> {
  const running = await streams(server, 2, 160, settings);
  for (let index = 0; index < 3; index++) await server.generate({ prompt: freshPrompt(600), maxTokens: 2, ...settings });
  return quantile((await Promise.all(running)).flatMap(({ gaps }) => gaps), 0.95);
}

/** A request that comes while every place is taken. The server has four. */
export async function midQueue(server: Server, settings: CallSettings): Promise<number> {
  const busy = await streams(server, 4, 48, settings);
  const { first } = await server.generate({ prompt: freshPrompt(100), maxTokens: 4, ...settings });
  await Promise.all(busy);
  return first;
}

/** Runs a trial once for several cases, which each take one value of it, in the order in which they were run. */
export class SharedTrials<Result> {
  readonly #run: () => Promise<Result>;
  readonly #results: Result[] = [];
  readonly #taken = new Map<string, number>();

  constructor(run: () => Promise<Result>) {
    this.#run = run;
  }

  /** The next result that this case has not had. */
  async next(name: string): Promise<Result> {
    const index = this.#taken.get(name) ?? 0;
    this.#taken.set(name, index + 1);
    if (this.#results.length <= index) this.#results.push(await this.#run());
    return this.#results[index] as Result;
  }
}
