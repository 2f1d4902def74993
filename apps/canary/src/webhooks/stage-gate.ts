import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { CanaryFile } from '@mlx-serving/policy';
import type { Logger } from '@mlx-serving/service-kit';
import type { RolloutState } from '../rollout/rollout-state.ts';

type Webhook = CanaryFile['webhooks'][number];

export interface StageGateOptions {
  readonly webhooks: () => readonly Webhook[];
  readonly now: () => number;
  readonly logger: Logger;
}

/** How long a refusal holds before it is asked again. */
const ASK_AGAIN_MS = 5_000;
const TRIES = 3;

/** Asks whoever is configured before a step, and tells them after it. Bodies are signed: `x-mlx-serving-signature: sha256=…`. */
export class StageGate {
  readonly #options: StageGateOptions;
  #asking: Promise<boolean> | undefined;
  #askAgainAt = Number.NEGATIVE_INFINITY;

  constructor(options: StageGateOptions) {
    this.#options = options;
  }

  /** @returns true when every `before` answers 2xx. One that cannot be reached refuses. */
  async allows(state: RolloutState): Promise<boolean> {
    const before = this.#options.webhooks().filter(({ when }) => when === 'before');
    if (before.length === 0) return true;
    // Asked once at a time, though judged at every batch.
    if (this.#asking || this.#options.now() < this.#askAgainAt) return false;
    this.#asking = Promise.all(before.map((hook) => this.#post(hook, 'before_stage', state))).then((answers) => answers.every(Boolean));
    try {
      const allowed = await this.#asking;
      if (!allowed) this.#askAgainAt = this.#options.now() + ASK_AGAIN_MS;
      return allowed;
    } finally {
      this.#asking = undefined;
    }
  }

  /** Tells every `after`. Never waited for. */
  tell(event: string, state: RolloutState): void {
    for (const hook of this.#options.webhooks().filter(({ when }) => when === 'after')) void this.#repeat(hook, event, state);
  }

  async #repeat(hook: Webhook, event: string, state: RolloutState): Promise<void> {
    for (let attempt = 0; attempt < TRIES; attempt++) if (await this.#post(hook, event, state)) return;
  }

  async #post({ url, secretFile, timeoutMs }: Webhook, event: string, state: RolloutState): Promise<boolean> {
    const { id, phase, stage, percentage, version, reason } = state;
    const body = JSON.stringify({ event, rollout: { id, phase, stage, percentage, version, reason }, at: new Date().toISOString() });
    try {
      const secret = (await readFile(secretFile, 'utf8')).trim();
      const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
      const headers = { 'content-type': 'application/json', 'x-mlx-serving-signature': signature };
      const { ok, status } = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(timeoutMs), redirect: 'error' });
      if (!ok) this.#options.logger.warn({ url, status, event }, 'a webhook refused');
      return ok;
    } catch (error) {
      this.#options.logger.warn({ url, event, problem: error instanceof Error ? error.message : String(error) }, 'a webhook could not be called');
      return false;
    }
  }
}
