import { exportsTelemetry, telemetryEnvironment } from './start-telemetry.ts';

/** Of a trace that begins here. */
const DEFAULT_SHARE = 0.01;
const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Every so many-th: a counter in place of a draw, so that what is left out costs one addition. */
export class CounterSampler {
  readonly #every: number;
  #count = 0;

  /** @param share 0 for none, 1 for all */
  constructor(share: number) {
    this.#every = share > 0 ? Math.max(1, Math.round(1 / share)) : 0;
  }

  takes(): boolean {
    if (this.#every === 0 || ++this.#count < this.#every) return false;
    this.#count = 0;
    return true;
  }
}

/**
 * Which requests are traced: those whose caller traces them, as the header `traceparent` says, none whose caller does not,
 * and a share of the others (`OTEL_TRACES_SAMPLER_ARG`, default 0.01; `OTEL_TRACES_SAMPLER` may say always_on or always_off).
 */
export class TraceSampler {
  readonly #active: boolean;
  readonly #counter: CounterSampler;

  /** @param environment OpenTelemetry's variables; default: those with which `startTelemetry` started */
  constructor(environment: NodeJS.ProcessEnv = telemetryEnvironment()) {
    this.#active = exportsTelemetry(environment);
    this.#counter = new CounterSampler(shareOf(environment));
  }

  /** @param traceparent called only while spans are collected */
  takes(traceparent: () => string | undefined): boolean {
    if (!this.#active) return false;
    const parent = traceparent();
    if (parent !== undefined && TRACEPARENT.test(parent)) return (Number.parseInt(parent.slice(-2), 16) & 1) === 1;
    return this.#counter.takes();
  }
}

function shareOf({ OTEL_TRACES_SAMPLER: sampler = '', OTEL_TRACES_SAMPLER_ARG: share }: NodeJS.ProcessEnv): number {
  if (/always_on$/.test(sampler)) return 1;
  if (/always_off$/.test(sampler)) return 0;
  const value = Number(share || DEFAULT_SHARE);
  return value >= 0 && value <= 1 ? value : DEFAULT_SHARE;
}
