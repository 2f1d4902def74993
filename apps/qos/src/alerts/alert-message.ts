import { createHash } from 'node:crypto';
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
/** Slack refuses a section of more than 3 000 characters, and a field of more than 2 000; a mark and a name stand before these. */
const LONGEST_TEXT = 2_900;
const LONGEST_FIELD = 1_900;

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
  const whole = `mlx-serving/${key}@${sinceMs}`;
  return whole.length <= LONGEST_KEY ? whole : `mlx-serving/${createHash('sha256').update(whole).digest('hex')}`;
}

/** Slack's incoming webhooks: https://api.slack.com/messaging/webhooks */
function slackBody(kind: AlertEffect['kind'], alert: OpenAlert): Record<string, unknown> {
  const text = `${kind === 'trigger' ? ':rotating_light:' : ':white_check_mark: Resolved:'} ${escaped(alert.summary, LONGEST_TEXT)}`;
  const fields = Object.entries(facts(alert)).map(([name, value]) => ({ type: 'mrkdwn', text: `*${name}*\n${escaped(value, LONGEST_FIELD)}` }));
  return { text, blocks: [{ type: 'section', text: { type: 'mrkdwn', text } }, { type: 'section', fields }] };
}

/** Slack's three control characters. */
const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

/** At most so long once it is escaped, and never cut within a character. */
function escaped(text: string, most: number): string {
  let result = '';
  for (const character of text) {
    const safe = ESCAPES[character] ?? character;
    if (result.length + safe.length > most) break;
    result += safe;
  }
  return result;
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
