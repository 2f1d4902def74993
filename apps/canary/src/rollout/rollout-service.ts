import type { CanaryComparison, StreamReport } from '@mlx-serving/contracts';
import { BaselineSample, type CanaryFile, Evidence } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { CanaryMetrics } from '../metrics.ts';
import type { RoutingService } from '../routing/routing-service.ts';
import type { StageGate } from '../webhooks/stage-gate.ts';
import { bareRatioProblem, withCounterfactual } from './bare-ratios.ts';
import { countsUsers, evidenceOptions } from './evidence-options.ts';
import { FileFollower } from './file-follower.ts';
import { inForce } from './follow-file.ts';
import { Observer } from './observation-of.ts';
import { advanced, type Cause, isOver, rolledBack, type RolloutState, stageOf, warned } from './rollout-state.ts';
import { SampleRatioAlarm } from './sample-ratio-alarm.ts';
import type { StateKeeper } from './state-keeper.ts';
import { type Verdict, verdictOf, type WorkerFacts } from './verdict.ts';

export interface RolloutServiceOptions {
  readonly keeper: StateKeeper;
  readonly routing: RoutingService;
  readonly gate: StageGate;
  readonly linkedGateways: () => number;
  readonly workers: () => WorkerFacts;
  readonly compare: () => CanaryComparison;
  readonly metrics: CanaryMetrics;
  /** Unix time in milliseconds. */
  readonly wallClock: () => number;
  readonly logger: Logger;
}

/** How often the evidence is kept, in milliseconds: what a crash may cost. A filter of users makes it large, so less often. */
const KEEP_EVERY_MS = 200;
const KEEP_FILTER_EVERY_MS = 1_000;
/** Without a report for so many looks the controller is blind. */
const BLIND_LOOKS = 3;
/** How long each step of a gradual rollback stays. */
const GRADUAL_STEP_MS = 30_000;

/** Runs the rollout: gathers evidence, judges it at every batch, and moves the percentage (SPEC C2, C3, C7). */
export class RolloutService {
  readonly #options: RolloutServiceOptions;
  readonly #observer = new Observer();
  readonly #baseline = new BaselineSample();
  #file: CanaryFile | undefined;
  #evidence: Evidence | undefined;
  /** Of the present step of a gradual rollback, whose evidence stays as it was, so that one sees why. */
  #stepEvidence: Evidence | undefined;
  #evidenceOf = '';
  #lastReportMs: number | undefined;
  #keeping: NodeJS.Timeout | undefined;
  #judged: Verdict | undefined;
  #stopped = false;
  readonly #follower: FileFollower;
  readonly #alarm: SampleRatioAlarm;

  constructor(options: RolloutServiceOptions) {
    this.#options = options;
    this.#follower = new FileFollower(options);
    this.#alarm = new SampleRatioAlarm(options);
  }

  get file(): CanaryFile {
    if (!this.#file) throw new Error('the rollout was not configured yet');
    return this.#file;
  }

  get evidence(): Evidence | undefined {
    return this.#evidence;
  }

  /** The last verdict; undefined while there is nothing to judge. */
  get verdict(): Verdict | undefined {
    return this.#judged;
  }

  /** Why nothing moves though the rollout runs; undefined while the controller sees. */
  get blind(): string | undefined {
    if (!this.#options.keeper.known) return 'the kept rollout could not be read yet';
    if (this.#options.linkedGateways() === 0) return 'no gateway is linked';
    if (this.#lastReportMs === undefined) return 'no report has come yet';
    const silence = this.#options.wallClock() - this.#lastReportMs;
    return silence > Math.max(15_000, BLIND_LOOKS * this.file.monitoring.intervalMs) ? `no report for ${Math.round(silence / 1_000)} s` : undefined;
  }

  /** Whether the evidence lets the stage be left: surely not worse, and nothing says otherwise. */
  get isSafe(): boolean {
    const { state } = this.#options.keeper;
    if (!this.#judged || state.phase !== 'running') return false;
    const { judgement, fired } = this.#judged;
    return judgement.notWorse && !judgement.sampleRatioMismatch && fired.length === 0 && state.warnings.length === 0 && this.blind === undefined;
  }

  /** Takes other settings, or takes up a kept rollout. A file that routes differently begins a rollout of its own. */
  async configure(file: CanaryFile): Promise<void> {
    this.#file = file;
    if (!this.#options.keeper.acting) return;
    await this.#follower.follow(file.canary);
    await this.settle();
  }

  /** The state is another process's now, or the first that was read: so is its evidence. */
  takeOver(): Promise<void> {
    this.#evidenceOf = '';
    return this.configure(this.file);
  }

  /** What routes now. */
  get settings(): CanaryFile['canary'] {
    return inForce(this.file.canary, this.#options.keeper.state);
  }

  /** What `config/canary.yaml` waits for before its share is taken; undefined while it is followed. */
  get waiting(): string | undefined {
    return this.#follower.waiting;
  }

  /** Changes the rollout by hand. @returns whether it changed */
  async change(next: (state: RolloutState) => RolloutState): Promise<boolean> {
    const { keeper } = this.#options;
    const lowered = this.#lower(keeper.state, next(keeper.state));
    const changed = await keeper.change((state) => this.#withEvidence(next(state), state));
    if (changed || lowered) await this.settle();
    return changed;
  }

  /** Takes the share down before anything is kept. What comes of the change settles it. */
  #lower({ percentage: present }: RolloutState, { percentage, moveUnstarted }: RolloutState): boolean {
    if (percentage >= present) return false;
    this.#options.routing.lower({ ...this.settings, rolloutPercentage: percentage }, moveUnstarted || this.file.rollback.moveUnstarted);
    return true;
  }

  /** Brings routing and evidence to where the state is. Safe to repeat: this is also what a restart does. */
  async settle(): Promise<void> {
    const { keeper, routing } = this.#options;
    this.#observer.countsUsers = countsUsers(this.settings);
    await routing.apply(this.settings, keeper.state.moveUnstarted || this.file.rollback.moveUnstarted);
    this.#takeUpEvidence();
    if (keeper.state.stageRevision !== '') return;
    const stageRevision = routing.table.revision.toString();
    await keeper.change((state) => (state.stageRevision === '' ? { ...state, stageRevision } : state));
  }

  ingest(report: StreamReport): void {
    this.#lastReportMs = this.#options.wallClock();
    const observation = this.#observer.observationOf(report, this.#lastReportMs);
    if (!observation) return;
    const { state } = this.#options.keeper;
    const counts = isOfStage(report, state);
    if (counts && state.phase === 'rolling_back') this.#stepEvidence?.observe(observation);
    else if (counts && this.#evidence) {
      this.#evidence.observe(observation);
      this.#keepSoon();
    } else if (!observation.canary && !observation.failed) this.#baseline.add(observation.values);
  }

  workerExited(workerId: string): void {
    this.#observer.restarted(workerId);
    const nowMs = this.#options.wallClock();
    void this.change((state) => ({ ...state, exits: { count: state.exits.count + 1, atMs: [...state.exits.atMs, nowMs].slice(-10) } })).then(() => this.judge()).catch((error: Error) => this.#options.logger.error({ err: error, worker: workerId }, 'the exit of a worker could not be judged'));
  }

  /** Judges what is known now, and acts on it. Called at every batch of reports and every `monitoring.intervalMs`. */
  async judge(): Promise<void> {
    const { keeper, routing } = this.#options;
    if (this.#stopped || !this.#file || !keeper.acting) return;
    const { state } = keeper;
    if (state.phase === 'rolling_back') return (await this.#endAtOnce(state)) ? undefined : this.#stepBack();
    // While a stage is being left its evidence must not move the next one.
    if (isOver(state) || !this.#evidence || this.#evidenceOf !== stageOf(state)) return;
    if (!routing.table.enabled || state.percentage === 0) return;
    this.#judged = this.#verdictOf(this.#evidence);
    this.#alarm.set(this.#judged.judgement.sampleRatioMismatch, state);
    if (await this.#rollBackFor(this.#judged)) return;
    await this.#warn();
    await this.#advance();
  }

  /** Takes the canary back at once when a critical trigger has fired. */
  async #rollBackFor({ fired }: Verdict): Promise<boolean> {
    const critical = fired.find(({ severity }) => severity === 'critical');
    return this.file.rollback.enabled && critical !== undefined && this.rollBack(critical.name, { gradual: false, actor: 'controller' });
  }

  /** A canary that goes back by steps may become worse meanwhile. */
  async #endAtOnce(state: RolloutState): Promise<boolean> {
    return this.#stepEvidence !== undefined && this.#evidenceOf === stageOf(state) && this.#rollBackFor(this.#verdictOf(this.#stepEvidence));
  }

  /** Looks at what thresholds without a test would do. Called every `monitoring.intervalMs`. */
  async look(): Promise<void> {
    const { keeper, compare, metrics, wallClock } = this.#options;
    const { phase, percentage } = keeper.state;
    const problem = phase === 'running' && percentage > 0 ? bareRatioProblem(compare()) : undefined;
    if (problem) {
      metrics.counterfactualRollbacks.inc();
      await keeper.change((state) => withCounterfactual(state, problem, wallClock(), this.file.monitoring.intervalMs));
    }
    if (this.waiting !== undefined && (await this.#follower.follow(this.file.canary))) await this.settle();
    await this.judge();
  }

  async rollBack(reason: string, { gradual, actor }: { gradual: boolean; actor: string }): Promise<boolean> {
    const { metrics, logger, gate } = this.#options;
    const { cooldownMs } = this.file.rollback;
    const changed = await this.change((state) => (isOver(state) && state.phase !== 'promoted' ? state : rolledBack(state, { gradual, cooldownMs }, this.#cause(actor, reason))));
    if (!changed) return false;
    metrics.rollbacks.inc({ reason });
    if (actor === 'controller') metrics.rollbackTriggers.inc({ trigger: reason });
    logger.warn({ reason, actor, percentage: this.#options.keeper.state.percentage, verdict: this.#judged?.findings }, 'the canary is rolled back');
    gate.tell(this.#options.keeper.state.phase, this.#options.keeper.state);
    return true;
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#keeping);
  }

  /** Keeps the evidence now. */
  async keep(): Promise<void> {
    clearTimeout(this.#keeping);
    this.#keeping = undefined;
    await this.#options.keeper.change((state) => (this.#evidence && this.#evidenceOf === stageOf(state) && !isOver(state) && state.phase !== 'rolling_back' ? { ...state, evidence: this.#evidence.keep() } : state));
  }

  async #warn(): Promise<void> {
    const { keeper, metrics, gate } = this.#options;
    for (const { name } of this.#judged?.fired.filter(({ severity }) => severity === 'warning') ?? []) {
      const isNew = await keeper.change((state) => (state.warnings.includes(name) ? state : warned(state, name, this.#cause('controller', name))));
      if (!isNew) continue;
      metrics.rollbackTriggers.inc({ trigger: name });
      gate.tell('warning', keeper.state);
      if (this.file.rollback.enabled && this.file.rollback.gradual) await this.rollBack(name, { gradual: true, actor: 'controller' });
    }
  }

  /** The next stage, when the evidence, the hold, the gate and whoever is asked before allow it. */
  async #advance(): Promise<void> {
    const { keeper, gate } = this.#options;
    const { state } = keeper;
    if (!this.#hasStayed(state) || !this.isSafe || !(await gate.allows(state, advanced(state, this.#cause('controller', 'not worse'))))) return;
    const moved = await this.change((now) => (stageOf(now) === stageOf(state) && now.phase === 'running' ? advanced(now, this.#cause('controller', 'not worse')) : now));
    if (moved) gate.tell(keeper.state.phase === 'promoted' ? 'promoted' : 'stage', keeper.state);
  }

  #hasStayed({ phase, stages, stage, stageSinceMs }: RolloutState): boolean {
    const present = stages[stage];
    if (phase !== 'running' || !present || present.gate || stage + 1 >= stages.length) return false;
    return this.#options.wallClock() - stageSinceMs >= present.holdMs;
  }

  async #stepBack(): Promise<void> {
    const { keeper, wallClock, gate } = this.#options;
    if (wallClock() - keeper.state.stageSinceMs < GRADUAL_STEP_MS) return;
    const { cooldownMs } = this.file.rollback;
    const moved = await this.change((state) => (state.phase === 'rolling_back' ? rolledBack(state, { gradual: true, cooldownMs }, this.#cause('controller', state.reason)) : state));
    if (moved) gate.tell(keeper.state.phase, keeper.state);
  }

  /** Carries the evidence into the next stage of the same rollout. */
  #withEvidence(next: RolloutState, before: RolloutState): RolloutState {
    if (next === before || !this.#evidence || this.#evidenceOf !== stageOf(before)) return next;
    if (next.evidence === null && next.id === before.id && next.stage !== before.stage) {
      return { ...next, requestsBefore: before.requestsBefore + this.#evidence.requests.canary, evidence: this.#evidence.next(next.percentage / 100).keep() };
    }
    return next.id === before.id && next.phase !== 'promoted' ? { ...next, evidence: this.#evidence.keep() } : next;
  }

  #verdictOf(evidence: Evidence): Verdict {
    const { keeper, workers, wallClock } = this.#options;
    return verdictOf(evidence, keeper.state, this.file.rollback, workers(), wallClock());
  }

  #takeUpEvidence(): void {
    const { state } = this.#options.keeper;
    if (this.#evidenceOf === stageOf(state)) return;
    this.#evidenceOf = stageOf(state);
    this.#alarm.set(false, state);
    this.#evidence = new Evidence(state.percentage / 100, this.#baseline, state.evidence ?? undefined, evidenceOptions(this.file));
    // Of a rollout that is over one sees why.
    this.#judged = (isOver(state) || state.phase === 'rolling_back') && state.evidence ? this.#verdictOf(this.#evidence) : undefined;
    this.#stepEvidence = state.phase === 'rolling_back' ? this.#evidence.next(state.percentage / 100) : undefined;
  }

  #keepSoon(): void {
    if (this.#keeping || this.#stopped) return;
    this.#keeping = setTimeout(() => void this.keep(), this.#observer.countsUsers ? KEEP_FILTER_EVERY_MS : KEEP_EVERY_MS);
  }

  #cause(actor: string, reason: string): Cause {
    return { nowMs: this.#options.wallClock(), actor, reason };
  }
}

/** Whether a request was decided by the present stage. */
function isOfStage({ decision }: StreamReport, state: RolloutState): boolean {
  return !isOver(state) && state.percentage > 0 && state.stageRevision !== '' && (decision?.routingRevision ?? 0n) >= BigInt(state.stageRevision);
}
