/** One thing that is measured, in one unit, against one named peer. Less is better. */
export interface BenchCase {
  readonly name: string;
  /** Such as `ms` or `s`. */
  readonly unit: string;
  /** Measures once. */
  ours(): Promise<number>;
  readonly peerName?: string;
  /** Measures the peer once, in the same way. */
  peer?(): Promise<number>;
  /** Absent: a yardstick, which says what the others are worth and can neither hold nor fail. */
  readonly goal?: BenchGoal;
  /** How often it is measured, where that is not as often as the suite's others. */
  readonly pairs?: number;
}

/** What must hold: at most this much of the peer's value (`ratio`), or at most this value. */
export interface BenchGoal {
  readonly of: 'ratio' | 'value';
  readonly most: number;
}

export interface BenchSuite {
  readonly name: string;
  readonly description: string;
  /** How often ours and the peer are measured unless --pairs says otherwise. */
  readonly pairs: number;
  readonly cases: readonly BenchCase[];
  setUp?(): Promise<void>;
  tearDown?(): Promise<void>;
}
