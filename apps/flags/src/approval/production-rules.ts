import { type FlagConfig, flagInEnvironment } from '@mlx-serving/policy';
import { errors } from '../errors.ts';
import type { Change } from '../flags/flag-change.ts';

const PRODUCTION = 'production';

/** What protects production from an accidental change (SPEC F23). A kill is under none of these rules. */
export class ProductionRules {
  readonly #environment: string;
  readonly #step: number;

  /** @param step percentage points by which one person may raise a rollout */
  constructor(environment: string, step: number) {
    this.#environment = environment;
    this.#step = step;
  }

  get isProduction(): boolean {
    return this.#environment === PRODUCTION;
  }

  /** @throws REASON_MISSING */
  assertReason({ reason }: Change): void {
    if (this.isProduction && reason.trim() === '') throw errors.REASON_MISSING();
  }

  /** @returns why the change needs a second person, or undefined */
  whyApproval(before: FlagConfig | undefined, after: FlagConfig): string | undefined {
    if (!this.isProduction) return undefined;
    const [from, to] = [this.shareOf(before), this.shareOf(after)];
    if (to - from <= this.#step) return undefined;
    return `It raises the share from ${from} % to ${to} %, by more than ${this.#step} points.`;
  }

  /** The share of keys that a flag is rolled out to here: 0 while it is not enabled. */
  shareOf(config: FlagConfig | undefined): number {
    if (!config) return 0;
    const here = flagInEnvironment(config, this.#environment);
    return here.enabled ? here.rolloutPercentage : 0;
  }
}
