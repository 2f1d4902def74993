import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AlertStateSchema, Handlers, Qos, QosWindowSchema, RemediationStateSchema, SloStateSchema } from '@mlx-serving/contracts';
import type { OpenAlert, RemediationLease, SloVerdict, WindowView } from '@mlx-serving/policy';
import type { ControlKeeper } from '../control/control-keeper.ts';
import type { ControlService } from '../control/control-service.ts';
import type { LeaseService } from '../leases/lease-service.ts';
import type { Gateways } from '../link/link-handler.ts';
import type { ReportService } from '../reports/report-service.ts';
import type { CanaryWatch } from '../surroundings/canary-watch.ts';
import type { FlagWatch } from '../surroundings/flag-watch.ts';
import type { WorkerService } from '../workers/worker-service.ts';
import { present } from './action-message.ts';

export interface StateHandlerOptions {
  readonly gateways: Gateways;
  readonly reports: ReportService;
  readonly leases: LeaseService;
  readonly workers: WorkerService;
  readonly control: ControlService;
  readonly keeper: ControlKeeper;
  readonly canary: CanaryWatch;
  readonly flags: FlagWatch;
}

/** Answers what this service knows now. */
export function createStateHandler({ gateways, reports, leases, workers, control, keeper, canary, flags }: StateHandlerOptions): Handlers<typeof Qos>['getState'] {
  return async () => {
    const { evaluator, state, settings } = control.controller;
    return {
      windowMs: evaluator.window.windowMs,
      reportsTotal: reports.totals.reports,
      droppedReportsTotal: reports.totals.dropped,
      duplicateReportsTotal: reports.totals.duplicates,
      window: windowMessage(evaluator.window),
      linkedGateways: gateways.ids,
      leases: leases.leases,
      workers: workers.stats,
      recent: [...reports.recent],
      slos: control.verdicts.map(sloMessage),
      remediations: state.leases.map(remediationMessage),
      alerts: state.alerts.map(alertMessage),
      acting: keeper.acting,
      term: BigInt(keeper.term),
      problem: keeper.problem ?? (flags.known ? '' : 'the flags are not known yet; nothing is done'),
      variantJudged: canary.judging,
      dryRun: settings.executor.dry_run,
    };
  };
}

function windowMessage(view: WindowView): MessageInitShape<typeof QosWindowSchema> {
  return {
    requests: BigInt(view.requests),
    errors: BigInt(view.errors),
    errorRate: view.errorRate,
    tokensPerSecond: view.tokensPerSecond,
    ...present({ ttftP50Ms: view.ttft.percentile(50), ttftP95Ms: view.ttft.percentile(95), ttftP99Ms: view.ttft.percentile(99), latencyP95Ms: view.latency.percentile(95) }),
  };
}

function sloMessage({ value, bound, samples, burn, ...rest }: SloVerdict): MessageInitShape<typeof SloStateSchema> {
  return { ...rest, ...present({ value, bound }), samples: BigInt(samples), burn: burn.map(({ rate, long, short, burning }) => ({ rate, longWindow: long, shortWindow: short, burning })) };
}

function remediationMessage({ id, policy, slo, action, actuator, value, reason, sinceMs, untilMs, dryRun }: RemediationLease): MessageInitShape<typeof RemediationStateSchema> {
  return { id, policy, slo, action, actuator, value, reason, dryRun, sinceMs: BigInt(Math.round(sinceMs)), untilMs: BigInt(Math.round(untilMs)) };
}

function alertMessage({ sinceMs, ...rest }: OpenAlert): MessageInitShape<typeof AlertStateSchema> {
  return { ...rest, sinceMs: BigInt(Math.round(sinceMs)) };
}
