import { median, pairedRatio, type Spread, spread } from './statistics.ts';
import type { BenchCase, BenchGoal } from './suite.ts';

export interface BenchResult {
  readonly name: string;
  readonly unit: string;
  /** Medians. */
  readonly ours: number;
  readonly peer: number | null;
  readonly peerName: string | null;
  /** Ours as a share of the peer's. */
  readonly ratio: number | null;
  readonly spread: { readonly ours: Spread; readonly peer: Spread | null };
  readonly goal: BenchGoal | null;
  readonly holds: boolean;
}

/** Measures ours and the peer in turn; which goes first changes with each pair, so that neither always finds a warm machine. */
export async function measure(benchCase: BenchCase, pairs: number): Promise<BenchResult> {
  const ours: number[] = [];
  const peers: number[] = [];
  const measureOurs = async (): Promise<unknown> => ours.push(await benchCase.ours());
  const measurePeer = async (): Promise<unknown> => benchCase.peer && peers.push(await benchCase.peer());
  for (let pair = 0; pair < pairs; pair++) {
    for (const once of pair % 2 === 0 ? [measureOurs, measurePeer] : [measurePeer, measureOurs]) await once();
  }
  return resultOf(benchCase, ours, peers);
}

export function resultOf({ name, unit, peerName, goal }: BenchCase, ours: readonly number[], peers: readonly number[]): BenchResult {
  const hasPeer = peers.length > 0;
  const ratio = hasPeer ? pairedRatio(ours, peers) : null;
  const judged = goal?.of === 'ratio' ? ratio : median(ours);
  return {
    name,
    unit,
    ours: median(ours),
    peer: hasPeer ? median(peers) : null,
    peerName: peerName ?? null,
    ratio,
    spread: { ours: spread(ours), peer: hasPeer ? spread(peers) : null },
    goal: goal ?? null,
    holds: goal === undefined || (judged !== null && judged <= goal.most),
  };
}

/** One line for a person. */
export function lineOf({ name, unit, ours, peer, peerName, ratio, spread: { ours: own, peer: others }, goal, holds }: BenchResult): string {
  const show = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));
  const range = ({ low, high }: Spread): string => `${show(low)}–${show(high)}`;
  const comparison = peer === null || others === null ? '' : `, ${peerName ?? 'peer'} ${show(peer)} ${unit} (${range(others)}), ratio ${ratio?.toFixed(2)}`;
  const mark = goal === null ? '·' : holds ? '✓' : '✗';
  return `${mark} ${name}: ours ${show(ours)} ${unit} (${range(own)})${comparison}; ${goal === null ? 'a yardstick' : `goal: ${goal.of} at most ${goal.most}`}`;
}
