/** An action as the admin REST interface shows it; the fields that the commands use. */
export interface Action {
  readonly id: string;
  readonly atMs: number;
  readonly policy: string;
  readonly slo: string;
  readonly action: string;
  readonly actuator: string;
  readonly outcome: string;
  readonly rule: string;
  readonly from?: number;
  readonly to?: number;
  readonly times: number;
}

/** One line for a person. */
export function actionLine({ id, atMs, policy, action, actuator, outcome, rule, from, to, times }: Action): string {
  const change = from === undefined || to === undefined ? '' : ` ${round(from)} → ${round(to)}`;
  return `${new Date(atMs).toISOString()}  ${id.padEnd(10)} ${outcome.padEnd(10)} ${action} on ${actuator}${change}, policy ${policy}: ${rule}${times > 1 ? ` (${times} times)` : ''}`;
}

export function round(value: number): number {
  return Number(value.toPrecision(4));
}
