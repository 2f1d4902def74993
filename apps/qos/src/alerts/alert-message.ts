import type { AlertEffect, OpenAlert } from '@mlx-serving/policy';

export type AlertChannel = 'slack' | 'pagerduty' | 'webhook';

/** Where alerts go. A channel without an address is not configured. */
export interface AlertTargets {
  readonly slackUrl: string;
  readonly pagerdutyUrl: string;
  readonly pagerdutyKey: string;
  readonly webhookUrl: string;
}

export interface AlertRequest {
  readonly url: string;
  readonly body: Record<string, unknown>;
}

/** PagerDuty cuts neither: longer ones are refused. */
const LONGEST_KEY = 255;
const LONGEST_SUMMARY = 1_024;

/** What is posted for an alert, or undefined when its channel is not configured. */
export function alertRequest({ kind, alert }: AlertEffect, channel: AlertChannel, targets: AlertTargets, nowMs: number): AlertRequest | undefined {
  switch (channel) {
    case 'slack':
      return targets.slackUrl === '' ? undefined : { url: targets.slackUrl, body: slackBody(kind, alert) };
    case 'pagerduty':
      return targets.pagerdutyKey === '' ? undefined : { url: targets.pagerdutyUrl, body: pagerdutyBody(kind, alert, targets.pagerdutyKey) };
    case 'webhook':
      return targets.webhookUrl === '' ? undefined : { url: targets.webhookUrl, body: { event: kind, at: new Date(nowMs).toISOString(), dedup_key: dedupKey(alert), ...facts(alert), summary: alert.summary } };
  }
}

/** One alert is one incident, however often it is sent. */
export function dedupKey({ key, sinceMs }: OpenAlert): string {
  const end = `@${sinceMs}`;
  return `mlx-serving/${key}`.slice(0, LONGEST_KEY - end.length) + end;
}

/** Slack's incoming webhooks: https://api.slack.com/messaging/webhooks */
function slackBody(kind: AlertEffect['kind'], alert: OpenAlert): Record<string, unknown> {
  const text = `${kind === 'trigger' ? ':rotating_light:' : ':white_check_mark: Resolved:'} ${escaped(alert.summary)}`;
  const fields = Object.entries(facts(alert)).map(([name, value]) => ({ type: 'mrkdwn', text: `*${name}*\n${escaped(String(value))}` }));
  return { text, blocks: [{ type: 'section', text: { type: 'mrkdwn', text } }, { type: 'section', fields }] };
}

/** Slack's three control characters. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').slice(0, 2_000);
}

/** PagerDuty's Events API v2: https://developer.pagerduty.com/docs/send-alert-event */
function pagerdutyBody(kind: AlertEffect['kind'], alert: OpenAlert, routingKey: string): Record<string, unknown> {
  const event = { routing_key: routingKey, event_action: kind, dedup_key: dedupKey(alert) };
  if (kind === 'resolve') return event;
  return {
    ...event,
    client: 'mlx-serving',
    payload: {
      summary: alert.summary.slice(0, LONGEST_SUMMARY),
      source: 'mlx-serving/qos',
      severity: alert.severity,
      timestamp: new Date(alert.sinceMs).toISOString(),
      component: 'qos',
      group: alert.policy,
      class: alert.slo || 'loop',
      custom_details: facts(alert),
    },
  };
}

function facts({ policy, slo, severity, sinceMs }: OpenAlert): Record<string, string> {
  return { policy, ...(slo === '' ? {} : { slo }), severity, since: new Date(sinceMs).toISOString() };
}
