import { create } from '@bufbuild/protobuf';
import { type FlagsLinkResponse, FlagsLinkResponseSchema, StreamOutcome, type StreamReport } from '@mlx-serving/contracts';
import { BaselineSample, Evidence, judge, type JudgeSettings, type Observation } from '@mlx-serving/policy';
import type { FlagReplicas } from '../link/link-handler.ts';
import type { Rollout } from './rollout-record.ts';

/** P's triggers as effect sizes (SPEC C2); each replica judges by itself, so each has a small part of what may go wrong. */
const SETTINGS: JudgeSettings = { triggers: [{ name: 'high_error_rate', threshold: 2 }, { name: 'high_latency', threshold: 1.5 }], alpha: 0.005 };
const WORDS: Readonly<Record<string, string>> = { high_error_rate: 'fails more often', high_latency: 'is slower' };

interface Watched {
  stage: number;
  evidence: Evidence;
}

/**
 * Guards rollouts by the canary analysis (SPEC F24, section 6): the requests for which a flag is on are compared with those
 * for which its share leaves it off, by a test that may be looked at as often as one likes. What was seen is in memory: after
 * a restart a stage is judged anew.
 */
export class RolloutJudge {
  readonly #replicas: Pick<FlagReplicas, 'broadcast'>;
  readonly #watched = new Map<string, Watched>();

  constructor(replicas: Pick<FlagReplicas, 'broadcast'>) {
    this.#replicas = replicas;
  }

  /** For a gateway that links. */
  get directive(): FlagsLinkResponse {
    return create(FlagsLinkResponseSchema, { message: { case: 'watchedFlags', value: { flags: [...this.#watched.keys()] } } });
  }

  /** Follows the rollouts that run; gateways are told when they are others than before. */
  follow(running: readonly (readonly [flag: string, rollout: Rollout, ...rest: unknown[]])[]): void {
    const before = [...this.#watched.keys()].join();
    const names = new Set(running.map(([flag]) => flag));
    for (const flag of this.#watched.keys()) if (!names.has(flag)) this.#watched.delete(flag);
    for (const [flag, { stage, stages }] of running) {
      const share = (stages[stage]?.percentage ?? 0) / 100;
      const watched = this.#watched.get(flag);
      if (!watched) this.#watched.set(flag, { stage, evidence: new Evidence(share, new BaselineSample()) });
      else if (watched.stage !== stage) Object.assign(watched, { stage, evidence: watched.evidence.next(share) });
    }
    if ([...this.#watched.keys()].join() !== before) this.#replicas.broadcast(this.directive);
  }

  observe(report: StreamReport): void {
    for (const [flag, { evidence }] of this.#watched) {
      const reason = report.decision?.flagReasons[flag];
      if (reason === 'ROLLED_OUT' || reason === 'NOT_ROLLED_OUT') evidence.observe(observationOf(report, reason === 'ROLLED_OUT'));
    }
  }

  /** Why a flag must not go on: with it requests are surely worse than without. */
  problemOf(flag: string): string | undefined {
    const evidence = this.#watched.get(flag)?.evidence;
    if (!evidence) return undefined;
    const { findings, failedAtOnce, blastRadiusExceeded } = judge(evidence, SETTINGS);
    const seen = `, after ${evidence.requests.canary} requests with the flag and ${evidence.requests.baseline} without.`;
    const fired = findings.filter((finding) => finding.fired).map(({ name }) => WORDS[name] ?? name);
    if (fired.length > 0) return `What runs with the flag ${fired.join(' and ')}${seen}`;
    if (failedAtOnce) return `The first requests with the flag all failed${seen}`;
    return blastRadiusExceeded ? `Too many requests with the flag went wrong${seen}` : undefined;
  }
}

/** Errors are server faults only; a client that went away had waited so long at least. */
function observationOf({ flagKeyHash, outcome, durationMs, ttftMs }: StreamReport, canary: boolean): Observation {
  const unit = flagKeyHash || undefined;
  const failed = outcome === StreamOutcome.FAILED;
  const unfinished = !failed && outcome !== StreamOutcome.OK;
  return { canary, failed, unfinished, unit, values: failed || outcome === StreamOutcome.REJECTED ? [] : [durationMs, ttftMs ?? (unfinished ? durationMs : Number.NaN)] };
}
