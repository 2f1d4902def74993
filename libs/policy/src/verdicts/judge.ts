import { exceedsBlastRadius } from './blast-radius.ts';
import { estimatedRatio, type EventCounts, logEValue, logMean, logNotWorse, RATIOS } from './e-process.ts';
import { DEFAULT_MARGIN, type Evidence, FIRST_REQUESTS } from './evidence.ts';
import { PLAIN_EVENTS, STATISTICAL_TRIGGERS, type StatisticalTrigger, TAIL_METRICS, TAIL_QUANTILES } from './metrics-judged.ts';
import { logRateBelow } from './rate-test.ts';
import { logSampleRatioMismatch } from './sample-ratio.ts';

export interface JudgedTrigger {
  readonly name: StatisticalTrigger;
  /** Times the baseline's rate, or its latency: an effect that is smaller does not fire. */
  readonly threshold: number;
}

export interface JudgeSettings {
  readonly triggers: readonly JudgedTrigger[];
  /** Most that may go wrong over a whole rollout, all triggers together. Default: 0.01 (SPEC 6). */
  readonly alpha?: number;
  /** "Not worse" means for errors: fewer than so many times the baseline's. Default: 1.5. For latency `Evidence` has it. */
  readonly margin?: number;
  /** Or a share of failing requests that is surely below this. Default: 0.02. */
  readonly errorFloor?: number;
  /** Excess bad requests, over all stages, at which a rollout stops. Default: 100. */
  readonly blastRadius?: number;
}

export const DEFAULT_ALPHA = 0.01;
export const DEFAULT_ERROR_FLOOR = 0.02;
export const DEFAULT_BLAST_RADIUS = 100;
/** So many times the blast radius in the last blocks of time ends also a canary that may be slow in one spell only. */
const SPELL_BUDGETS = 2;
/** How sure a sample-ratio mismatch must be. */
const MISMATCH_ALPHA = 0.001;
/** Quantiles (their indices) of which one must reach the floor; P99 has too few events. */
const FLOOR_QUANTILES: readonly number[] = [0, 1, 2];
/** Fewest of the canary's events from which this is read. */
const LEAST_AT_FLOOR = 5;
/** Beyond the median events are few, so they must be more than chance makes of them. */
const TAIL_DEVIATIONS = 3;

/** One trigger's finding. */
export interface Finding {
  readonly name: StatisticalTrigger;
  /** Surely worse, and by enough to matter. */
  readonly fired: boolean;
  /** Surely worse, yet by less than matters: of events surely less than the threshold, of tails less than the floor. */
  readonly slight: boolean;
  /** 0 to 1: the evidence so far, over what is needed, by their logarithms. */
  readonly progress: number;
  /** How many times the baseline's rate of events, as far as counted; of a tail, at P95. */
  readonly ratio: number | undefined;
}

export interface Judgement {
  readonly findings: readonly Finding[];
  /** All of the canary's first requests failed. */
  readonly failedAtOnce: boolean;
  readonly blastRadiusExceeded: boolean;
  readonly excessBad: number;
  readonly sampleRatioMismatch: boolean;
  /** Errors and latency are surely below the margin: the stage may be left. */
  readonly notWorse: boolean;
  /** 0 to 1, by the slower of errors and latency. */
  readonly promotionProgress: number;
}

/** What the evidence says now. It may be asked at any time and as often as one likes: that is what the test is for. */
export function judge(evidence: Evidence, settings: JudgeSettings): Judgement {
  const { alpha = DEFAULT_ALPHA, margin = DEFAULT_MARGIN, errorFloor = DEFAULT_ERROR_FLOOR, blastRadius = DEFAULT_BLAST_RADIUS } = settings;
  const comparing = evidence.share > 0 && evidence.share < 1;
  const total = settings.triggers.reduce((sum, { name }) => sum + STATISTICAL_TRIGGERS[name].weight, 0);
  const needed = Math.log(1 / alpha);
  const promotion = comparing ? Math.min(logErrorsNotWorse(evidence, margin, errorFloor), logLatencyNotWorse(evidence)) / needed : 0;
  return {
    findings: comparing ? settings.triggers.map((trigger) => findingOf(evidence, trigger, Math.log(total / (alpha * STATISTICAL_TRIGGERS[trigger.name].weight)), needed)) : [],
    failedAtOnce: evidence.first.count >= FIRST_REQUESTS && evidence.first.failed >= FIRST_REQUESTS,
    blastRadiusExceeded: isBeyondBlastRadius(evidence, blastRadius),
    excessBad: evidence.excessBad.units,
    sampleRatioMismatch: comparing && logSampleRatioMismatch(evidence.units, evidence.share) >= Math.log(1 / MISMATCH_ALPHA),
    notWorse: promotion >= 1,
    promotionProgress: Math.max(0, Math.min(1, promotion)),
  };
}

/** Failures count at once. Slowness may be one spell of the machine, which may cost twice the budget and no more. */
function isBeyondBlastRadius({ excessFailed, excessBad, isSteadilySlow, recentlySlow }: Evidence, budget: number): boolean {
  return exceedsBlastRadius(excessFailed, budget) || (exceedsBlastRadius(excessBad, budget) && (isSteadilySlow || recentlySlow > SPELL_BUDGETS * budget));
}

function findingOf(evidence: Evidence, { name, threshold }: JudgedTrigger, worseNeeded: number, slightNeeded: number): Finding {
  const counts = shownCounts(evidence, name);
  const worse = logWorse(evidence, name);
  const isWorse = worse >= worseNeeded && isSteady(evidence, name);
  const slight = isWorse && threshold > 1 && isSlight(evidence, name, threshold, slightNeeded);
  return { name, fired: isWorse && !slight, slight, progress: Math.max(0, Math.min(1, worse / worseNeeded)), ratio: estimatedRatio(counts, evidence.share) };
}

/** A tail must be worse over several blocks of time; an event is grave enough at once. */
function isSteady(evidence: Evidence, name: StatisticalTrigger): boolean {
  const trigger = STATISTICAL_TRIGGERS[name];
  return 'event' in trigger || evidence.isSteady(TAIL_METRICS.indexOf(trigger.metric));
}

/** Of an event: its rate is surely below the threshold. Of a tail: the canary's quantiles do not reach the floor. */
function isSlight(evidence: Evidence, name: StatisticalTrigger, threshold: number, needed: number): boolean {
  const trigger = STATISTICAL_TRIGGERS[name];
  if ('event' in trigger) return logNotWorse(shownCounts(evidence, name), evidence.share, threshold) >= needed;
  const metric = TAIL_METRICS.indexOf(trigger.metric);
  return !FLOOR_QUANTILES.some((quantile) => {
    const canary = evidence.countAtFloor(metric, quantile);
    const expected = (evidence.counts(metric, quantile).baseline / (1 - evidence.share)) * evidence.share;
    return canary >= LEAST_AT_FLOOR && canary >= expected + (quantile === 0 ? 0 : TAIL_DEVIATIONS * Math.sqrt(expected));
  });
}

/** The logarithm of the e-value that a trigger stands for: the mean over the ratios and, of a tail, over the quantiles. */
function logWorse(evidence: Evidence, name: StatisticalTrigger): number {
  const trigger = STATISTICAL_TRIGGERS[name];
  if ('event' in trigger) return logMean(evidence.logEValues(PLAIN_EVENTS.indexOf(trigger.event)));
  const metric = TAIL_METRICS.indexOf(trigger.metric);
  return logMean(TAIL_QUANTILES.flatMap((_, quantile) => evidence.logEValues(metric, quantile)));
}

function shownCounts(evidence: Evidence, name: StatisticalTrigger): EventCounts {
  const trigger = STATISTICAL_TRIGGERS[name];
  return 'event' in trigger ? evidence.counts(PLAIN_EVENTS.indexOf(trigger.event)) : evidence.counts(TAIL_METRICS.indexOf(trigger.metric), TAIL_QUANTILES.indexOf(95));
}

/** Against "margin times as many errors or more, and above the floor": either half of it may be shown to be wrong. */
function logErrorsNotWorse(evidence: Evidence, margin: number, errorFloor: number): number {
  const errors = evidence.counts(PLAIN_EVENTS.indexOf('error'));
  return logMean([logNotWorse(errors, evidence.share, margin), logRateBelow({ events: errors.canary, trials: evidence.finished.canary }, errorFloor)]);
}

/**
 * Against "margin times slower or more": then the canary's latencies, divided by the margin, would lie beyond a quantile of
 * the baseline at least as often as the baseline's own. Evidence is that they do so less often.
 */
function logLatencyNotWorse(evidence: Evidence): number {
  return logMean(TAIL_QUANTILES.flatMap((_, quantile) => RATIOS.map((ratio) => logEValue(evidence.countsAtMargin(quantile), evidence.share, 1 / ratio))));
}
