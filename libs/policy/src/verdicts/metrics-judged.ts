/** What is measured of a request and compared by its upper tail: greater is worse. */
export const TAIL_METRICS = ['latency', 'ttft', 'token_time', 'token_gap', 'long_output', 'short_output'] as const;
export type TailMetric = (typeof TAIL_METRICS)[number];

/** What happens to a request or not. */
export const PLAIN_EVENTS = ['error', 'empty_output', 'cut_output', 'repeated_output', 'other_finish'] as const;
export type PlainEvent = (typeof PLAIN_EVENTS)[number];

/** Quantiles of the baseline beyond which a value is an event, in percent. Their e-values are averaged. */
export const TAIL_QUANTILES: readonly number[] = [50, 90, 95, 99];

/** One finished request as the test sees it. */
export interface Observation {
  readonly canary: boolean;
  /** A fault of the server. */
  readonly failed: boolean;
  /** Its end is not known, as the client went away: it took at least its values. Neither a success nor a failure. */
  readonly unfinished?: boolean;
  /** The routed unit by 16 hexadecimal digits when a unit has many requests; absent when each request is one. */
  readonly unit?: string | undefined;
  /** The request's values by the order of TAIL_METRICS; NaN for what it does not have. */
  readonly values: readonly number[];
  readonly empty?: boolean;
  /** Ended because its length was used up. */
  readonly cut?: boolean;
  /** Ended in a loop. */
  readonly repeated?: boolean;
  /** Ended neither by itself nor because its length was used up. */
  readonly otherFinish?: boolean;
  /** When it became known, in milliseconds; absent where time plays no part. See `Evidence`. */
  readonly atMs?: number | undefined;
}

/** The triggers whose verdict is this test, and what each looks at. */
export const STATISTICAL_TRIGGERS = {
  high_error_rate: { event: 'error', weight: 5 },
  high_latency: { metric: 'latency', weight: 4 },
  high_ttft: { metric: 'ttft', weight: 1 },
  slow_tokens: { metric: 'token_time', weight: 1 },
  high_token_gap: { metric: 'token_gap', weight: 1 },
  empty_output: { event: 'empty_output', weight: 1 },
  cut_output: { event: 'cut_output', weight: 1 },
  repeated_output: { event: 'repeated_output', weight: 1 },
  other_finish: { event: 'other_finish', weight: 1 },
  long_output: { metric: 'long_output', weight: 1 },
  short_output: { metric: 'short_output', weight: 1 },
} as const satisfies Record<string, { weight: number } & ({ event: PlainEvent } | { metric: TailMetric })>;

export type StatisticalTrigger = keyof typeof STATISTICAL_TRIGGERS;
