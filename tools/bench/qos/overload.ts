import { setTimeout as delay } from 'node:timers/promises';
import { quantile } from '../statistics.ts';
import { DEADLINE_MS, type Outcome, send } from './request.ts';
import { type GovernorSettings, Stack } from './stack.ts';

/** What a run of three times the best point's load came to. */
export interface Overload {
  /** How many times the answers in time of the best point are those of the run. */
  readonly goodput: number;
  /** P95 of the first token of urgent requests, in unloaded ones; one that was refused or late took its whole deadline. */
  readonly urgentFirst: number;
  /** P95 of the time to a refusal, in milliseconds. */
  readonly refusedMs: number;
}

interface BestPoint {
  /** The fewest callers that get nearly the most. */
  readonly callers: number;
  /** Answers in time a second. */
  readonly perSecond: number;
}

const UNLOADED_REQUESTS = 100;
const WARM_UP_REQUESTS = 20;
const CALLERS = [1, 2, 4, 8, 16, 32];
const POINT_MS = 6_000;
const OVERLOAD_MS = 20_000;
const OVERLOAD = 3;
/** One request in so many is urgent; the others are of the class background. */
const URGENT_EVERY = 20;
const NEARLY = 0.95;
const NO_GOVERNOR: GovernorSettings = { places: 100_000, queued: 100_000, urgentShare: 0, algorithm: 'fixed' };

/** Three times the load at which the real worker gives most, with the governor and without. Started when it is first needed. */
export class OverloadTrial {
  #stack: Stack | undefined;
  #unloadedMs = 0;
  #best: BestPoint = { callers: 0, perSecond: 0 };

  /** As many places as the best point has callers, of which a quarter is left free for urgent requests. */
  async governed(): Promise<Overload> {
    await this.#start();
    return this.#run({ places: this.#best.callers, queued: 256, urgentShare: 0.25, algorithm: 'fixed' });
  }

  /** Everything goes to the worker at once. */
  async ungoverned(): Promise<Overload> {
    await this.#start();
    return this.#run(NO_GOVERNOR);
  }

  async stop(): Promise<void> {
    await this.#stack?.stop();
  }

  async #start(): Promise<void> {
    if (this.#stack) return;
    this.#stack = await Stack.start(NO_GOVERNOR);
    const { gateway } = this.#stack.urls;
    for (let each = 0; each < WARM_UP_REQUESTS; each++) await send(gateway, true);
    const unloaded: number[] = [];
    for (let each = 0; each < UNLOADED_REQUESTS; each++) unloaded.push((await send(gateway, true)).firstMs);
    this.#unloadedMs = quantile(unloaded, 0.95);
    this.#best = await bestPoint(gateway);
    process.stdout.write(`  unloaded first token, p95: ${this.#unloadedMs.toFixed(1)} ms; best point: ${this.#best.perSecond.toFixed(1)} answers a second at ${this.#best.callers} callers\n`);
  }

  async #run(settings: GovernorSettings): Promise<Overload> {
    const stack = this.#stack as Stack;
    await stack.govern(settings);
    const outcomes = await openLoop(stack.urls.gateway, OVERLOAD * this.#best.perSecond);
    const urgent = outcomes.filter((each) => each.urgent).map(({ kind, firstMs }) => (kind === 'ok' ? firstMs : DEADLINE_MS));
    const refused = outcomes.filter(({ kind }) => kind === 'refused').map(({ totalMs }) => totalMs);
    return {
      goodput: outcomes.filter(isInTime).length / (OVERLOAD_MS / 1_000) / this.#best.perSecond,
      urgentFirst: quantile(urgent, 0.95) / this.#unloadedMs,
      refusedMs: refused.length === 0 ? 0 : quantile(refused, 0.95),
    };
  }
}

function isInTime({ kind, totalMs }: Outcome): boolean {
  return kind === 'ok' && totalMs <= DEADLINE_MS;
}

async function bestPoint(url: string): Promise<BestPoint> {
  const points: BestPoint[] = [];
  for (const callers of CALLERS) points.push({ callers, perSecond: await closedLoop(url, callers) });
  const most = Math.max(...points.map(({ perSecond }) => perSecond));
  const { callers } = points.find(({ perSecond }) => perSecond >= NEARLY * most) as BestPoint;
  return { callers, perSecond: most };
}

/** Answers in time a second that so many callers get, each asking again when it has its answer. */
async function closedLoop(url: string, callers: number): Promise<number> {
  const began = performance.now();
  let inTime = 0;
  const one = async (): Promise<void> => {
    while (performance.now() < began + POINT_MS) if (isInTime(await send(url, true))) inTime++;
  };
  await Promise.all(Array.from({ length: callers }, one));
  return (inTime * 1_000) / (performance.now() - began);
}

/** Sends so many a second whatever becomes of them, by chance, as callers do that know nothing of one another. */
async function openLoop(url: string, perSecond: number): Promise<Outcome[]> {
  const random = randomSource(1);
  const sent: Promise<Outcome>[] = [];
  const began = performance.now();
  for (let at = 0; at < OVERLOAD_MS; at += (-Math.log(random()) * 1_000) / perSecond) {
    const wait = began + at - performance.now();
    if (wait > 1) await delay(wait);
    sent.push(send(url, sent.length % URGENT_EVERY === 0));
  }
  return Promise.all(sent);
}

/** Seeded, so that every run sends the same. */
export function randomSource(seed: number): () => number {
  let state = seed;
  return () => ((state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0), (state + 1) / (2 ** 32 + 1));
}
