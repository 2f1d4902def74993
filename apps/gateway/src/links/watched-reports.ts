import { clone } from '@bufbuild/protobuf';
import { type StreamReport, StreamReportSchema } from '@mlx-serving/contracts';
import { ReportBuffer } from '@mlx-serving/service-kit';
import { hashOf } from '../decision/routing-places.ts';

/** Most reports that wait while the link is down: what is older says little about a rollout of now. */
const CAPACITY = 1_000;
/** The share of a flag decided, and nothing before it. */
const SPLIT: ReadonlySet<string> = new Set(['ROLLED_OUT', 'NOT_ROLLED_OUT']);

/** Reports of requests that a flag under rollout has split. While no flag is watched it costs one comparison. */
export class WatchedReports {
  readonly #buffer: ReportBuffer<StreamReport>;
  #watched: readonly string[] = [];

  /** @param send answers false when the link did not take them */
  constructor(send: (reports: StreamReport[]) => boolean) {
    this.#buffer = new ReportBuffer<StreamReport>({ capacity: CAPACITY, send: ({ items }) => send(items) });
  }

  watch(flags: readonly string[]): void {
    this.#watched = flags;
  }

  /** @param key by which flags were split, which need not be what the canary's routing hashes: a verdict counts what was split */
  add(report: StreamReport, key: string): void {
    if (this.#watched.length === 0) return;
    const { decision } = report;
    const reasons = this.#watched.map((flag): [string, string] => [flag, decision?.flagReasons[flag] ?? '']).filter(([, reason]) => SPLIT.has(reason));
    if (!decision || reasons.length === 0) return;
    // Without the other flags, of which there may be thousands.
    const watched = { ...decision, enabledFlags: [], flagReasons: Object.fromEntries(reasons) };
    this.#buffer.add(clone(StreamReportSchema, { ...report, decision: watched, flagKeyHash: hashOf(key) }));
  }

  stop(): void {
    this.#buffer.stop();
  }
}
