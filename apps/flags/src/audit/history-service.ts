import type { ProductionRules } from '../approval/production-rules.ts';
import { errors } from '../errors.ts';
import type { Change, Outcome } from '../flags/flag-change.ts';
import type { FlagsService } from '../flags/flags-service.ts';
import type { AuditService } from './audit-service.ts';

/** Puts a flag back to what it was at a revision: an edit like any other, so a kill stays. */
export class HistoryService {
  readonly #audit: AuditService;
  readonly #flags: FlagsService;
  readonly #rules: Pick<ProductionRules, 'assertReason'>;

  constructor(audit: AuditService, flags: FlagsService, rules: Pick<ProductionRules, 'assertReason'>) {
    this.#audit = audit;
    this.#flags = flags;
    this.#rules = rules;
  }

  /** @throws REVISION_UNKNOWN when there was no such flag then, REASON_MISSING */
  async revert(name: string, revision: bigint, { actor, reason }: Change): Promise<Outcome> {
    this.#rules.assertReason({ actor, reason });
    const then = (await this.#audit.at({ revision })).flags.find((flag) => flag.name === name);
    if (!then) throw errors.REVISION_UNKNOWN({ name });
    return this.#flags.set(name, then.text, { actor, reason: reason || `back to revision ${revision}`, action: 'revert' });
  }
}
