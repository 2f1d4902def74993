import { EventEmitter } from 'node:events';
import { GrowthBookClient } from '@growthbook/growthbook';
import { type LDClient, init } from '@launchdarkly/node-server-sdk';
import { TestData } from '@launchdarkly/node-server-sdk/integrations';
import { compileFlags, type EvaluationContext } from '@mlx-serving/evaluation';
import { flagConfig } from '@mlx-serving/policy';
import { FlagdCore } from '@openfeature/flagd-core';
import statsigNode from 'statsig-node';
import { Unleash } from 'unleash-client';

/** Users who ask in turn; three of four are on the plan that the rule asks for, so 37.5 % of the answers are on. */
export const USERS = Array.from({ length: 65_536 }, (_, index) => ({ id: `user-${index}-${(index * 7_919) % 1_000_003}`, plan: index % 4 === 0 ? 'free' : 'premium' }));
export const EXPECTED_SHARE = 0.375;
/** Node.js sees the object itself where the types see a module around it. */
const statsig = statsigNode as unknown as typeof statsigNode.Statsig;
const FLAG = 'bench';
const silent = { error: () => undefined, warn: () => undefined, info: () => undefined, debug: () => undefined };

/** A flag of 50 % with one rule, as one library evaluates it in this process. */
export interface FlagEvaluator {
  readonly name: string;
  /** Asks for the user with this number. What a caller would have ready, such as a context, is made beforehand. */
  readonly ask: (user: number) => boolean | Promise<boolean>;
  readonly close?: () => unknown;
}

/** Ours, counted. With `reason` the answer with its reason is read, and not a bare boolean. */
export function ours({ reason = false } = {}): FlagEvaluator {
  const config = flagConfig.parse({ enabled: true, rolloutPercentage: 50, hashSeed: 'bench-2026', rules: [{ attribute: 'plan', operator: 'equals', value: 'premium' }] });
  const flags = compileFlags({ flags: [{ name: FLAG, config, killed: false }], emergency: { killSwitch: false, rollbackToBaseline: false } });
  const contexts: EvaluationContext[] = USERS.map(({ id, plan }) => ({ key: id, attributes: { plan } }));
  if (!reason) return { name: 'mlx-serving', ask: (user) => flags.isEnabled(FLAG, contexts[user]!) };
  return {
    name: 'mlx-serving',
    ask: (user) => {
      const answer = flags.decide(FLAG, contexts[user]!);
      return answer.enabled && answer.reason === 'ROLLED_OUT' && answer.standardReason === 'SPLIT';
    },
  };
}

export function flagdCore(): FlagEvaluator {
  const core = new FlagdCore();
  const targeting = { if: [{ '==': [{ var: 'plan' }, 'premium'] }, { fractional: [['on', 50], ['off', 50]] }, 'off'] };
  core.setConfigurations(JSON.stringify({ flags: { [FLAG]: { state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'off', targeting } } }));
  const contexts = USERS.map(({ id, plan }) => ({ targetingKey: id, plan }));
  return { name: 'flagd-core', ask: (user) => core.resolveBooleanEvaluation(FLAG, false, contexts[user], silent).value };
}

export function unleash(): FlagEvaluator {
  const strategies = [{ name: 'flexibleRollout', parameters: { rollout: '50', stickiness: 'userId', groupId: FLAG }, constraints: [{ contextName: 'plan', operator: 'IN', values: ['premium'], inverted: false }] }];
  const toggle = { name: FLAG, type: 'release', enabled: true, stale: false, impressionData: false, strategies, variants: [] };
  const repository = Object.assign(new EventEmitter(), { getToggle: () => toggle, getToggles: () => [toggle], getTogglesWithSegmentData: () => [], getSegment: () => undefined, start: async () => undefined, stop: () => undefined });
  const client = new Unleash({ appName: FLAG, url: 'http://127.0.0.1:9', disableAutoStart: true, metricsInterval: 3_600_000, skipInstanceCountWarning: true, repository: repository as never });
  client.on('error', () => undefined);
  client.on('warn', () => undefined);
  const contexts = USERS.map(({ id, plan }) => ({ userId: id, properties: { plan } }));
  repository.emit('ready');
  return { name: 'unleash-client', ask: (user) => client.isEnabled(FLAG, contexts[user], false), close: () => client.destroy() };
}

export function growthBook(): FlagEvaluator {
  const client = new GrowthBookClient();
  const rules = [{ condition: { plan: 'premium' }, force: true, coverage: 0.5, hashAttribute: 'id' }];
  client.initSync({ payload: { features: { [FLAG]: { defaultValue: false, rules } } } });
  const contexts = USERS.map((attributes) => ({ attributes }));
  return { name: 'GrowthBook', ask: (user) => client.isOn(FLAG, contexts[user]!), close: () => client.destroy() };
}

export async function launchDarkly(): Promise<FlagEvaluator> {
  const data = new TestData();
  const rollout = { contextKind: 'user', variations: [{ variation: 0, weight: 50_000 }, { variation: 1, weight: 50_000 }] };
  const rules = [{ id: 'plan', clauses: [{ contextKind: 'user', attribute: 'plan', op: 'in', values: ['premium'], negate: false }], rollout }];
  await data.usePreconfiguredFlag({ key: FLAG, version: 1, on: true, salt: 'bench', fallthrough: { variation: 1 }, offVariation: 1, variations: [true, false], rules, targets: [], prerequisites: [] });
  const client: LDClient = init('sdk-bench', { updateProcessor: data.getFactory(), sendEvents: false, logger: silent });
  await client.waitForInitialization({ timeout: 5 });
  const contexts = USERS.map(({ id, plan }) => ({ kind: 'user', key: id, plan }));
  return { name: 'LaunchDarkly', ask: (user) => client.boolVariation(FLAG, contexts[user]!, false), close: () => client.close() };
}

export async function statsigLocal(): Promise<FlagEvaluator> {
  const condition = { type: 'user_field', targetValue: ['premium'], operator: 'any', field: 'plan', additionalValues: {}, isDeviceBased: false, idType: 'userID' };
  const rule = { name: 'plan', groupName: 'plan', passPercentage: 50, conditions: [condition], returnValue: true, id: 'plan', salt: 'plan', isDeviceBased: false, idType: 'userID' };
  const gate = { name: FLAG, type: 'feature_gate', salt: 'bench', enabled: true, defaultValue: false, rules: [rule], isDeviceBased: false, idType: 'userID', entity: 'feature_gate' };
  const specs = { has_updates: true, time: 1, feature_gates: [gate], dynamic_configs: [], layer_configs: [], layers: {}, id_lists: {}, experiment_to_layer: {} };
  await statsig.initialize('secret-bench', { localMode: true, bootstrapValues: JSON.stringify(specs), disableDiagnostics: true, disableIdListsSync: true, disableRulesetsSync: true });
  const users = USERS.map(({ id, plan }) => ({ userID: id, custom: { plan } }));
  return { name: 'Statsig', ask: (user) => statsig.checkGateWithExposureLoggingDisabledSync(users[user]!, FLAG), close: () => statsig.shutdown() };
}
