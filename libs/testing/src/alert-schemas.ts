import { z } from 'zod';

const iso8601 = z.iso.datetime({ offset: true });

/** What PagerDuty's Events API v2 takes, and nothing else: https://developer.pagerduty.com/docs/send-alert-event */
const pagerdutyPayload = z.strictObject({
  summary: z.string().min(1).max(1_024),
  source: z.string().min(1),
  severity: z.enum(['critical', 'error', 'warning', 'info']),
  timestamp: iso8601.optional(),
  component: z.string().optional(),
  group: z.string().optional(),
  class: z.string().optional(),
  custom_details: z.record(z.string(), z.unknown()).optional(),
});

const pagerdutyCommon = { routing_key: z.string().length(32), client: z.string().optional(), client_url: z.url().optional() };

export const pagerdutyEvent = z.discriminatedUnion('event_action', [
  z.strictObject({
    ...pagerdutyCommon,
    event_action: z.literal('trigger'),
    dedup_key: z.string().min(1).max(255).optional(),
    payload: pagerdutyPayload,
    links: z.array(z.strictObject({ href: z.url(), text: z.string().optional() })).optional(),
    images: z.array(z.strictObject({ src: z.url(), href: z.url().optional(), alt: z.string().optional() })).optional(),
  }),
  z.strictObject({ ...pagerdutyCommon, event_action: z.enum(['acknowledge', 'resolve']), dedup_key: z.string().min(1).max(255) }),
]);

const slackText = (most: number) => z.strictObject({ type: z.enum(['mrkdwn', 'plain_text']), text: z.string().min(1).max(most), emoji: z.boolean().optional(), verbatim: z.boolean().optional() });

/** A section block: https://docs.slack.dev/reference/block-kit/blocks/section-block */
const slackSection = z
  .strictObject({ type: z.literal('section'), block_id: z.string().max(255).optional(), text: slackText(3_000).optional(), fields: z.array(slackText(2_000)).min(1).max(10).optional() })
  .refine(({ text, fields }) => text !== undefined || fields !== undefined, 'a section needs text or fields');

/** What Slack's incoming webhooks take, as far as sections go: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks */
export const slackMessage = z.strictObject({ text: z.string().min(1).max(40_000), blocks: z.array(slackSection).max(50).optional() });
