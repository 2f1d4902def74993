import type { MessageInitShape } from '@bufbuild/protobuf';
import type { QosActionSchema } from '@mlx-serving/contracts';
import { type ActionRecord, RULES } from '@mlx-serving/policy';

/** A record as it travels. */
export function actionMessage(record: ActionRecord): MessageInitShape<typeof QosActionSchema> {
  const { from, to, inputs, atMs, lastMs, ...rest } = record;
  return {
    ...rest,
    ...present({ from, to, value: inputs.value, bound: inputs.bound }),
    ruleText: RULES[record.rule],
    atMs: BigInt(Math.round(atMs)),
    lastMs: BigInt(Math.round(lastMs)),
    threshold: inputs.threshold,
    samples: BigInt(inputs.samples),
    windowMs: inputs.windowMs,
  };
}

/** A record as sentences: inputs, bound, rule, outcome (SPEC Q4). */
export function explain(record: ActionRecord): string[] {
  const { policy, slo, action, actuator, outcome, rule, reason, from, to, inputs, times } = record;
  const measured = inputs.value === undefined ? 'had no value' : `was ${round(inputs.value)} (at 95 % at least ${inputs.bound === undefined ? 'unknown' : round(inputs.bound)})`;
  return [
    `Policy ${policy}${slo === '' ? '' : `: ${slo} ${measured}, threshold ${inputs.threshold}, over ${inputs.samples} samples in ${inputs.windowMs} ms.`}`,
    `Action ${action} on ${actuator}${from === undefined || to === undefined ? '' : `, ${round(from)} → ${round(to)}`}: ${outcome}. ${reason}.`,
    `Rule ${rule}: ${RULES[rule]}`,
    ...(times > 1 ? [`Found ${times} times in a row.`] : []),
  ];
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

/** Only what there is. */
export function present<K extends string, V>(values: Partial<Record<K, V | undefined>>): Partial<Record<K, V>> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<Record<K, V>>;
}
