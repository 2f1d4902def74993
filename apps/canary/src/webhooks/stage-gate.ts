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

/** Asks whoever is configured before a step to a greater share, and tells them after every change. A rollback asks nobody. Bodies are signed: `x-mlx-serving-signature: sha256=…`. */
export class StageGate {
  readonly #options: StageGateOptions;
  #asking: Promise<boolean> | undefined;
  #askAgainAt = Number.NEGATIVE_INFINITY;

  constructor(options: StageGateOptions) {
    this.#options = options;
  }

  /**
   * Asks for a step that a person wants.
   * @param next what the rollout would become
   * @returns the URLs that refuse: whatever does not answer 2xx, or cannot be reached
   */
  async refusals(state: RolloutState, next: RolloutState): Promise<string[]> {
    const answers = await Promise.all(this.#before.map(async (hook) => ((await this.#post(hook, 'before_stage', state, next)) ? [] : [hook.url])));
    return answers.flat();
  }

  /**
   * Asks for a step that the evidence allows, and again after a while when it was refused.
   * @returns true when every `before` answers 2xx. One that cannot be reached refuses.
   */
  async allows(state: RolloutState, next: RolloutState): Promise<boolean> {
    if (this.#before.length === 0) return true;
    // Asked once at a time, though judged at every batch.
    if (this.#asking || this.#options.now() < this.#askAgainAt) return false;
    this.#asking = this.refusals(state, next).then((refusing) => refusing.length === 0);
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

  get #before(): readonly Webhook[] {
    return this.#options.webhooks().filter(({ when }) => when === 'before');
  }

  async #post({ url, secretFile, timeoutMs }: Webhook, event: string, { id, phase, stage, percentage, version, reason }: RolloutState, next?: RolloutState): Promise<boolean> {
    const coming = next && { next: { phase: next.phase, stage: next.stage, percentage: next.percentage } };
    const body = JSON.stringify({ event, rollout: { id, phase, stage, percentage, version, reason }, ...coming, at: new Date().toISOString() });
    try {
      const secret = (await readFile(secretFile, 'utf8')).trim();
      const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
      const headers = { 'content-type': 'application/json', 'x-mlx-serving-signature': signature };
      const { ok, status } = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(timeoutMs), redirect: 'error' });
      if (!ok) this.#options.logger.warn({ host: new URL(url).host, status, event }, 'a webhook refused');
      return ok;
    } catch (error) {
      this.#options.logger.warn({ host: new URL(url).host, event, problem: error instanceof Error ? error.message : String(error) }, 'a webhook could not be called');
      return false;
    }
  }
}
