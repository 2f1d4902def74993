import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Handlers, type Qos, type RecordedRequest, type RecordedRequestSchema, StreamOutcome } from '@mlx-serving/contracts';
import { problemsOf, type QosMonitorSettings, type SloPolicy, sloPolicy } from '@mlx-serving/policy';
import type { ControlService } from '../control/control-service.ts';
import { errors } from '../errors.ts';
import { MOST_RECORDED, type RecordedSample, type Recording } from '../recording/recording.ts';
import { replayPolicies } from '../replay/replay-policies.ts';
import { outcomeOf } from '../reports/report-service.ts';
import { actionMessage, explain, present } from './action-message.ts';

export interface PolicyHandlersOptions {
  readonly control: ControlService;
  readonly recording: Recording;
  readonly baseLimit: () => number;
}

type PolicyHandlers = Pick<Handlers<typeof Qos>, 'listPolicies' | 'listActions' | 'explainAction' | 'getRecording' | 'replayPolicies'>;

const MOST_ACTIONS = 500;

/** Policies, what was done because of them, and what others would have done. */
export function createPolicyHandlers({ control, recording, baseLimit }: PolicyHandlersOptions): PolicyHandlers {
  return {
    listPolicies: async () => ({ policiesJson: byPriority(control.controller.settings).map((policy) => JSON.stringify(policy)) }),
    listActions: async ({ limit, policy }) => {
      const records = control.controller.state.records.filter((record) => policy === '' || record.policy === policy);
      return { actions: records.slice(-(Math.min(limit, MOST_ACTIONS) || 50)).reverse().map(actionMessage) };
    },
    explainAction: async ({ id }) => {
      const record = control.controller.state.records.find((each) => each.id === id);
      if (!record) throw errors.ACTION_NOT_FOUND({ id });
      return { action: actionMessage(record), explanation: explain(record) };
    },
    getRecording: async ({ limit }) => ({ requests: recording.latest(Math.min(limit || MOST_RECORDED, MOST_RECORDED)).map(recordedMessage) }),
    replayPolicies: async ({ policiesJson, requests }) => {
      const settings = withPolicies(control.controller.settings, policiesJson);
      const samples = requests.length === 0 ? recording.latest() : requests.map(toRecorded);
      const { actions, slos, fromMs, toMs, ...counts } = await replayPolicies(samples, { settings, baseLimit: baseLimit() });
      return {
        requests: BigInt(counts.requests),
        evaluations: BigInt(counts.evaluations),
        fromMs: BigInt(Math.round(fromMs)),
        toMs: BigInt(Math.round(toMs)),
        actions: actions.map(actionMessage),
        slos: slos.map(({ verdicts, ...slo }) => ({ ...slo, verdicts: Object.fromEntries(Object.entries(verdicts).map(([verdict, count]) => [verdict, BigInt(count)])) })),
      };
    },
  };
}

function byPriority({ policy_store }: QosMonitorSettings): SloPolicy[] {
  return policy_store.policies.toSorted((left, right) => right.priority - left.priority);
}

/** The settings in force, with other policies. Whatever is off or a dry run now is on in a replay, which does nothing anyway. */
function withPolicies(settings: QosMonitorSettings, texts: readonly string[]): QosMonitorSettings {
  const policies = texts.length === 0 ? settings.policy_store.policies : texts.map(readPolicy);
  return { ...settings, enabled: true, evaluator: { ...settings.evaluator, enabled: true }, executor: { ...settings.executor, enabled: true, dry_run: false }, policy_store: { policies } };
}

/** @throws POLICY_INVALID with every problem */
function readPolicy(text: string): SloPolicy {
  const parsed = sloPolicy.safeParse(readJson(text));
  const problems = parsed.success ? problemsOf(parsed.data) : parsed.error.issues.map(({ path, message }) => ({ path: path as (string | number)[], message }));
  if (!parsed.success || problems.length > 0) throw errors.POLICY_INVALID({ problems: problems.map(({ path, message }) => `${path.join('.')}: ${message}`).join(' ') });
  return parsed.data;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

const OUTCOMES = { ok: StreamOutcome.OK, failed: StreamOutcome.FAILED, other: StreamOutcome.CANCELLED } as const;

function recordedMessage({ atMs, outcome, ttftMs, durationMs, tokens, worker, variant }: RecordedSample): MessageInitShape<typeof RecordedRequestSchema> {
  return { atMs: BigInt(Math.round(atMs)), outcome: OUTCOMES[outcome], durationMs, tokens, worker, variant, ...present({ ttftMs }) };
}

function toRecorded({ atMs, outcome, ttftMs, durationMs, tokens, worker, variant }: RecordedRequest): RecordedSample {
  return { atMs: Number(atMs), outcome: outcomeOf(outcome), ttftMs, durationMs, tokens, worker, variant };
}
