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
  /** Callers that get the most together. */
  readonly callers: number;
  /** The fewest callers that get nearly as much: the places that an operator gives. */
  readonly places: number;
  /** Answers in time a second. */
  readonly perSecond: number;
}

/** What the machine gives just before a run: it is not the same for long. */
interface Reference {
  /** P95 of the first token of requests that come one by one. */
  readonly unloadedMs: number;
  /** Answers in time a second at the best point. */
  readonly perSecond: number;
}

const UNLOADED_REQUESTS = 80;
const WARM_UP_REQUESTS = 20;
const CALLERS = [1, 2, 4, 8, 12, 16, 24, 32];
const POINT_MS = 6_000;
/** Until then V8 has not compiled what a gateway under overload does. */
const WARM_UP_OVERLOAD_MS = 4_000;
const OVERLOAD_MS = 20_000;
const OVERLOAD = 3;
/** One request in so many is urgent; the others are of the class background. */
const URGENT_EVERY = 20;
const NEARLY = 0.9;
const NO_GOVERNOR: GovernorSettings = { places: 100_000, queued: 100_000, urgentShare: 0, algorithm: 'fixed' };

/** Three times the load at which the real worker gives most, with the governor and without. Started when it is first needed. */
export class OverloadTrial {
  #stack: Stack | undefined;
  #best: BestPoint = { callers: 0, places: 0, perSecond: 0 };

  /** As many places as give nearly the most, of which a quarter is left free for urgent requests. */
  async governed(): Promise<Overload> {
    await this.#start();
    return this.#run(this.#governor);
  }

  /** Everything goes to the worker at once. */
  async ungoverned(): Promise<Overload> {
    await this.#start();
    return this.#run(NO_GOVERNOR);
  }

  async stop(): Promise<void> {
    await this.#stack?.stop();
  }

  get #governor(): GovernorSettings {
    return { places: this.#best.places, queued: 256, urgentShare: 0.25, algorithm: 'fixed' };
  }

  async #start(): Promise<void> {
    if (this.#stack) return;
    this.#stack = await Stack.start(NO_GOVERNOR);
    const { gateway } = this.#stack.urls;
    for (let each = 0; each < WARM_UP_REQUESTS; each++) await send(gateway, true);
    this.#best = await bestPoint(gateway);
    const { perSecond, callers, places } = this.#best;
    process.stdout.write(`  best point: ${perSecond.toFixed(1)} answers a second at ${callers} callers; ${places} places give nearly as much\n`);
    await this.#stack.govern(this.#governor);
    await openLoop(gateway, OVERLOAD * perSecond, WARM_UP_OVERLOAD_MS);
  }

  async #run(settings: GovernorSettings): Promise<Overload> {
    const stack = this.#stack as Stack;
    await stack.govern(NO_GOVERNOR);
    const { unloadedMs, perSecond } = await reference(stack.urls.gateway, this.#best.callers);
    await stack.govern(settings);
    const outcomes = await openLoop(stack.urls.gateway, OVERLOAD * perSecond, OVERLOAD_MS);
    const urgent = outcomes.filter((each) => each.urgent).map(({ kind, firstMs }) => (kind === 'ok' ? firstMs : DEADLINE_MS));
    const refused = outcomes.filter(({ kind }) => kind === 'refused').map(({ totalMs }) => totalMs);
    return {
      goodput: outcomes.filter(isInTime).length / (OVERLOAD_MS / 1_000) / perSecond,
      urgentFirst: quantile(urgent, 0.95) / unloadedMs,
      refusedMs: refused.length === 0 ? 0 : quantile(refused, 0.95),
    };
  }
}

function isInTime({ kind, totalMs }: Outcome): boolean {
  return kind === 'ok' && totalMs <= DEADLINE_MS;
}

async function bestPoint(url: string): Promise<BestPoint> {
  const points: { callers: number; perSecond: number }[] = [];
  for (const callers of CALLERS) points.push({ callers, perSecond: await closedLoop(url, callers) });
  const most = Math.max(...points.map(({ perSecond }) => perSecond));
  const fewest = (least: number): number => points.find(({ perSecond }) => perSecond >= least)?.callers as number;
  return { callers: fewest(most), places: fewest(NEARLY * most), perSecond: most };
}

async function reference(url: string, callers: number): Promise<Reference> {
  const unloaded: number[] = [];
  for (let each = 0; each < UNLOADED_REQUESTS; each++) unloaded.push((await send(url, true)).firstMs);
  return { unloadedMs: quantile(unloaded, 0.95), perSecond: await closedLoop(url, callers) };
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
async function openLoop(url: string, perSecond: number, durationMs: number): Promise<Outcome[]> {
  const random = randomSource(1);
  const sent: Promise<Outcome>[] = [];
  const began = performance.now();
  for (let at = 0; at < durationMs; at += (-Math.log(random()) * 1_000) / perSecond) {
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
