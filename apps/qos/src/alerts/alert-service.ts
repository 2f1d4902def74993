import { type AlertEffect, EVERY_CHANNEL } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { QosMetrics } from '../metrics.ts';
import { type AlertChannel, alertRequest, type AlertTargets, dedupKey } from './alert-message.ts';

export interface AlertServiceOptions {
  readonly targets: () => AlertTargets;
  readonly metrics: QosMetrics;
  readonly logger: Logger;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  readonly send?: (url: string, init: RequestInit) => Promise<Pick<Response, 'status' | 'headers'>>;
  /** Waits before the next attempt. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

const CHANNELS: readonly AlertChannel[] = ['slack', 'pagerduty', 'webhook'];
/** Over some ten minutes. */
const ATTEMPTS = 20;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;
const TIMEOUT_MS = 5_000;
/** Most alerts that wait to be sent; beyond it the newest is dropped and counted. */
const MOST_WAITING = 200;

/** Posts alerts, tries again with growing pauses, and keeps the order of each incident's events. Addresses and keys are never logged. */
export class AlertService {
  readonly #options: AlertServiceOptions;
  readonly #chains = new Map<string, Promise<void>>();
  readonly #pending = new Map<string, AlertEffect>();
  readonly #stopping = new AbortController();

  constructor(options: AlertServiceOptions) {
    this.#options = options;
  }

  /** What was not delivered yet, one for each channel: to be sent again after a restart. */
  get pending(): readonly AlertEffect[] {
    return [...this.#pending.values()];
  }

  /** What waits already is not sent twice. */
  send(effect: AlertEffect): void {
    const { channel } = effect.alert;
    for (const each of channel === EVERY_CHANNEL ? CHANNELS : CHANNELS.filter((known) => known === channel)) this.#enqueue(effect, each, channel === EVERY_CHANNEL);
  }

  /** Leaves what still waits as it is. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#chains.values());
  }

  #enqueue(effect: AlertEffect, channel: AlertChannel, optional: boolean): void {
    const { targets, metrics, logger, now } = this.#options;
    const request = alertRequest(effect, channel, targets(), now());
    if (!request) {
      if (optional) return;
      metrics.alerts.inc({ channel, outcome: 'not_configured' });
      logger.error({ channel, policy: effect.alert.policy, summary: effect.alert.summary }, 'an alert has nowhere to go: its channel is not configured');
      return;
    }
    const incident = `${channel} ${dedupKey(effect.alert)}`;
    const key = `${incident} ${effect.kind}`;
    if (this.#pending.has(key)) return;
    if (this.#pending.size >= MOST_WAITING) return void metrics.alerts.inc({ channel, outcome: 'dropped' });
    this.#pending.set(key, { ...effect, alert: { ...effect.alert, channel } });
    const chain = (this.#chains.get(incident) ?? Promise.resolve())
      .then(() => this.#deliver(request.url, request.body, channel, effect))
      .then((over) => {
        if (over) this.#pending.delete(key);
        if (this.#chains.get(incident) === chain) this.#chains.delete(incident);
      });
    this.#chains.set(incident, chain);
  }

  /** Never rejects. @returns whether it is delivered or given up; false when the service ends before */
  async #deliver(url: string, body: unknown, channel: AlertChannel, { kind, alert }: AlertEffect): Promise<boolean> {
    const { metrics, logger, pause = wait } = this.#options;
    for (let attempt = 1; !this.#stopping.signal.aborted; attempt++) {
      const answer = await this.#post(url, body);
      if (answer.delivered) {
        metrics.alerts.inc({ channel, outcome: kind === 'trigger' ? 'sent' : 'resolved' });
        metrics.remediations.inc({ action: 'alert', success: 'true' });
        logger.info({ channel, kind, policy: alert.policy, slo: alert.slo, attempt }, 'alert delivered');
        return true;
      }
      if (this.#stopping.signal.aborted) return false;
      if (!answer.again || attempt >= ATTEMPTS) {
        metrics.alerts.inc({ channel, outcome: 'failed' });
        metrics.remediations.inc({ action: 'alert', success: 'false' });
        logger.error({ channel, kind, policy: alert.policy, slo: alert.slo, attempt, problem: answer.problem }, 'alert not delivered');
        return true;
      }
      const growing = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
      await pause(Math.min(LONGEST_PAUSE_MS, Math.max(growing, answer.retryAfterMs)), this.#stopping.signal);
    }
    return false;
  }

  async #post(url: string, body: unknown): Promise<{ delivered: boolean; again: boolean; retryAfterMs: number; problem: string }> {
    const { send = fetch } = this.#options;
    try {
      const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(TIMEOUT_MS)]);
      const { status, headers } = await send(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal, redirect: 'error' });
      const again = status === 408 || status === 429 || status >= 500;
      return { delivered: status >= 200 && status < 300, again, retryAfterMs: (Number(headers.get('retry-after')) || 0) * 1_000, problem: `HTTP ${status}` };
    } catch (error) {
      // Only the kind of the problem: its message may hold the address, which is a secret.
      return { delivered: false, again: true, retryAfterMs: 0, problem: error instanceof Error ? error.name : 'unknown' };
    }
  }
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
