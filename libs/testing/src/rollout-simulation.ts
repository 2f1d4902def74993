import { BaselineSample, Evidence, judge, type JudgeSettings, type Observation } from '@mlx-serving/policy';

/** How the traffic of a simulated rollout looks. */
export interface SimulatedTraffic {
  /** The canary's share of the units, 0 to 1. */
  readonly share: number;
  /** Requests in all. */
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly errorRate: number;
  /** Of the logarithm of the latency. */
  readonly sigma: number;
  /** Users by whom the traffic is split, few of whom send most of it; absent when it is split by request. */
  readonly users?: number;
  /** The canary's error rate and how many times slower it is. Default: as the baseline. */
  readonly canaryErrorRate?: number;
  readonly canarySlowdown?: number;
  /** What slows the processes besides. Default: nothing. */
  readonly disturbance?: Disturbance;
}

/** What happens on a machine that is shared. Times in seconds; each process has spells of its own. */
export interface Disturbance {
  /** Spells in which one process is slow. */
  readonly spells?: { readonly perHour: number; readonly meanSeconds: number; readonly factor: number };
  /** Spells in which both are slow. */
  readonly commonSpells?: { readonly perHour: number; readonly meanSeconds: number; readonly factor: number };
  /** Of the logarithm of a factor that drifts, for both alike, with a memory of so many requests. */
  readonly drift?: { readonly sigma: number; readonly memory: number };
  /** How many times slower the canary always is, as no two processes are alike. */
  readonly unlike?: number;
}

export type SimulatedEnd = 'rolled_back' | 'promoted' | 'running';

export interface SimulatedRollout {
  readonly end: SimulatedEnd;
  /** The canary's requests up to the end. */
  readonly canaryRequests: number;
  /** Whether the bare ratios would have rolled back, when they were watched. */
  readonly bareRatiosFired: boolean;
}

export interface SimulationOptions {
  readonly settings?: JudgeSettings;
  /** Ends with the first promotion as well. Default: false. */
  readonly promotes?: boolean;
  /** Looks at every so-manieth request of the canary. Default: 1. */
  readonly looksEvery?: number;
  /** Whether the evidence is gathered in blocks of time. Default: true. */
  readonly timed?: boolean;
  /** How long such a block is. Default: 5000. */
  readonly blockMs?: number;
  /** Also looks at the bare ratios every 5 s. Default: false. */
  readonly watchesBareRatios?: boolean;
}

/** P's triggers as the shipped configuration has them. The rest of the 1 % is crash_rate's. */
export const SHIPPED_TRIGGERS: JudgeSettings = {
  alpha: 0.009,
  triggers: [
    { name: 'high_error_rate', threshold: 2 },
    { name: 'high_latency', threshold: 1.5 },
  ],
};

const { cos, exp, floor, log, max, min, PI, round, sqrt } = Math;
const MEDIAN_LATENCY_MS = 280;
const LOOK_EVERY_SECONDS = 5;
const WARM_UP = 1_000;

/** One rollout with a seed of its own, judged at every report. */
export function simulateRollout(seed: number, traffic: SimulatedTraffic, options: SimulationOptions = {}): SimulatedRollout {
  const { settings, promotes, watchesBareRatios, timed, looksEvery } = { settings: SHIPPED_TRIGGERS, promotes: false, watchesBareRatios: false, timed: true, looksEvery: 1, ...options };
  const source = new RequestSource(seed, traffic, timed);
  const baseline = new BaselineSample();
  for (let index = 0; index < WARM_UP; index++) baseline.add([source.latency(1)]);
  const evidence = new Evidence(traffic.share, baseline, undefined, { blockMs: options.blockMs });
  const bare = watchesBareRatios ? new BareRatios(round(traffic.requestsPerSecond * LOOK_EVERY_SECONDS)) : undefined;
  let end: SimulatedEnd = 'running';
  for (let index = 0; index < traffic.requests && end === 'running'; index++) {
    const observation = source.next();
    evidence.observe(observation);
    bare?.observe(observation);
    // Evidence of "worse" grows with the canary's events only, so looking at these is looking at all.
    if ((observation.canary && evidence.requests.canary % looksEvery === 0) || (promotes && index % 50 === 0)) end = endOf(evidence, settings, promotes);
  }
  return { end, canaryRequests: evidence.requests.canary, bareRatiosFired: bare?.fired === true };
}

/** The requests of a rollout, one after the other. */
class RequestSource {
  readonly #random: Random;
  readonly #traffic: SimulatedTraffic;
  readonly #population: Population | undefined;
  readonly #disturbed: Disturbed | undefined;
  readonly #timed: boolean;
  #count = 0;

  constructor(seed: number, traffic: SimulatedTraffic, timed: boolean) {
    this.#timed = timed;
    this.#random = createRandom(seed);
    this.#traffic = traffic;
    this.#population = traffic.users === undefined ? undefined : new Population(traffic.users, this.#random);
    this.#disturbed = traffic.disturbance && new Disturbed(traffic.disturbance, createRandom(seed + 0x5eed));
  }

  latency(slowdown: number): number {
    return MEDIAN_LATENCY_MS * slowdown * exp(this.#traffic.sigma * this.#random.normal());
  }

  next(): Observation {
    const { share, errorRate, canaryErrorRate = errorRate, canarySlowdown = 1 } = this.#traffic;
    const user = this.#population?.draw() ?? { unit: undefined, place: this.#random.uniform(), errors: 1, slowness: 1 };
    const canary = user.place < share;
    const failed = this.#random.uniform() < (canary ? canaryErrorRate : errorRate) * user.errors;
    const second = this.#count++ / this.#traffic.requestsPerSecond;
    const slowness = (canary ? canarySlowdown : 1) * user.slowness * (this.#disturbed?.factor(canary, second) ?? 1);
    return { canary, failed, unit: user.unit, values: [this.latency(slowness)], atMs: this.#timed ? second * 1_000 : undefined };
  }
}

/** How many times slower a process is at a time, for reasons that are not the canary's. */
class Disturbed {
  readonly #random: Random;
  readonly #disturbance: Disturbance;
  readonly #ends = { baseline: 0, canary: 0, common: 0 };
  #last = 0;
  #drift = 0;

  constructor(disturbance: Disturbance, random: Random) {
    this.#disturbance = disturbance;
    this.#random = random;
  }

  factor(canary: boolean, second: number): number {
    const { spells, commonSpells, drift, unlike = 1 } = this.#disturbance;
    const passed = second - this.#last;
    this.#last = second;
    for (const process of ['baseline', 'canary'] as const) this.#turn(process, spells, second, passed);
    this.#turn('common', commonSpells, second, passed);
    if (drift) this.#drift += -this.#drift / drift.memory + drift.sigma * sqrt(2 / drift.memory) * this.#random.normal();
    const own = this.#ends[canary ? 'canary' : 'baseline'] > second ? (spells?.factor ?? 1) : 1;
    const common = this.#ends.common > second ? (commonSpells?.factor ?? 1) : 1;
    return own * common * exp(this.#drift) * (canary ? unlike : 1);
  }

  #turn(name: 'baseline' | 'canary' | 'common', spells: Disturbance['spells'], second: number, passed: number): void {
    if (!spells || this.#ends[name] > second) return;
    if (this.#random.uniform() < (passed * spells.perHour) / 3_600) this.#ends[name] = second - spells.meanSeconds * log(1 - this.#random.uniform());
  }
}

function endOf(evidence: Evidence, settings: JudgeSettings, promotes: boolean): SimulatedEnd {
  const { findings, failedAtOnce, blastRadiusExceeded, notWorse } = judge(evidence, settings);
  if (failedAtOnce || blastRadiusExceeded || findings.some(({ fired }) => fired)) return 'rolled_back';
  return promotes && notWorse ? 'promoted' : 'running';
}

interface User {
  readonly unit: string;
  readonly place: number;
  readonly errors: number;
  readonly slowness: number;
}

/** Users of whom the k-th sends 1/k of what the first sends, and who differ in speed and in errors. */
class Population {
  readonly #users: User[];
  readonly #cumulated: Float64Array;
  readonly #random: Random;

  constructor(size: number, random: Random) {
    this.#random = random;
    const hex = (): string => floor(random.uniform() * 2 ** 32).toString(16).padStart(8, '0');
    this.#users = Array.from({ length: size }, () => ({
      unit: hex() + hex(),
      place: random.uniform(),
      errors: exp(random.normal() - 0.5),
      slowness: exp(0.3 * random.normal()),
    }));
    this.#cumulated = new Float64Array(size);
    let sum = 0;
    for (let index = 0; index < size; index++) this.#cumulated[index] = sum += 1 / (index + 1);
  }

  draw(): User {
    const target = this.#random.uniform() * (this.#cumulated.at(-1) ?? 0);
    let [low, high] = [0, this.#cumulated.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#cumulated[middle] ?? 0) < target) low = middle + 1;
      else high = middle;
    }
    return this.#users[low] as User;
  }
}

/** What thresholds without a test do: errors above 2 times, or P95 above 1.5 times the baseline's, looked at every 5 s. */
class BareRatios {
  readonly #everyRequests: number;
  readonly #sides = [new BareSide(), new BareSide()] as const;
  #seen = 0;
  fired = false;

  constructor(everyRequests: number) {
    this.#everyRequests = max(1, everyRequests);
  }

  observe({ canary, failed, values }: Observation): void {
    this.#sides[canary ? 1 : 0].add(failed, values[0] ?? 0);
    if (this.fired || ++this.#seen % this.#everyRequests !== 0) return;
    const [baseline, canarySide] = this.#sides;
    if (canarySide.count === 0) return;
    this.fired = canarySide.errorRate > 2 * baseline.errorRate || canarySide.p95() > 1.5 * baseline.p95();
  }
}

class BareSide {
  readonly #bins = new Int32Array(400);
  count = 0;
  #failed = 0;

  get errorRate(): number {
    return this.#failed / max(1, this.count);
  }

  add(failed: boolean, value: number): void {
    this.count++;
    if (failed) this.#failed++;
    const bin = max(0, min(399, round(log(value) * 25)));
    this.#bins[bin] = (this.#bins[bin] ?? 0) + 1;
  }

  p95(): number {
    let left = this.count * 0.05;
    let bin = 399;
    for (; bin > 0 && left >= (this.#bins[bin] ?? 0); bin--) left -= this.#bins[bin] ?? 0;
    return exp(bin / 25);
  }
}

interface Random {
  uniform(): number;
  normal(): number;
}

/** The generator sfc32, so that a seed always gives the same rollout. */
function createRandom(seed: number): Random {
  let [a, b, c, d] = [0x9e3779b9, 0x243f6a88, 0xb7e15162, seed ^ 0xdeadbeef];
  const uniform = (): number => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return (t >>> 0) / 4_294_967_296;
  };
  for (let index = 0; index < 15; index++) uniform();
  return { uniform, normal: () => sqrt(-2 * log(1 - uniform())) * cos(2 * PI * uniform()) };
}
