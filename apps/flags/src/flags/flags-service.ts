import type { FlagConfig } from '@mlx-serving/policy';
import type { ApprovalService } from '../approval/approval-service.ts';
import type { ProductionRules } from '../approval/production-rules.ts';
import { errors } from '../errors.ts';
import { decodeDefinition, mergeDefinition } from '../snapshot/decode-definition.ts';
import type { LiveFlag, LiveFlags } from '../snapshot/live-flags.ts';
import type { DecisionTotals, FlagStore, RecordGuard } from '../store/flag-store.ts';
import type { DecisionCounter } from '../usage/decision-counter.ts';
import { assertNotRequired, checkAmongOthers, readDefinition } from './check-definition.ts';
import { type Begun, type Change, type Outcome, proved } from './flag-change.ts';
import type { FlagWriter } from './flag-writer.ts';
import { mergePatch } from './merge-patch.ts';

export interface FlagsServiceOptions {
  readonly store: FlagStore;
  readonly live: LiveFlags;
  readonly writer: FlagWriter;
  readonly counter: DecisionCounter;
  readonly rules: ProductionRules;
  readonly approvals: ApprovalService;
}

export interface FlagWrite extends Change {
  readonly ifRevision?: bigint | undefined;
  /** How the audit trail calls it. Default: set. */
  readonly action?: string;
  /** A second person has approved it. */
  readonly approved?: boolean;
  /** A record without which it is not done: the approval, or the rollout of which it is a stage. */
  readonly dependsOn?: RecordGuard | undefined;
}

/** What operators do to the definitions of flags. A kill stays, whatever a definition says. */
export class FlagsService {
  readonly #options: FlagsServiceOptions;

  constructor(options: FlagsServiceOptions) {
    this.#options = options;
  }

  get(name: string): LiveFlag {
    this.#options.writer.assertLoaded();
    const flag = this.#options.live.get(name);
    if (!flag) throw errors.FLAG_NOT_FOUND({ name });
    return flag;
  }

  set(name: string, definition: string, change: FlagWrite): Promise<Outcome> {
    return proved(this.begin(name, definition, change));
  }

  /** Sets a flag without waiting for the gateways, so that many changes wait for them together. */
  async begin(name: string, definition: string, change: FlagWrite): Promise<Begun> {
    const { live, writer } = this.#options;
    writer.assertWritable();
    const { config, speaksOfKillSwitch } = readDefinition(name, definition);
    checkAmongOthers(name, config, live);
    return this.#write(name, change, config, definition, () => ({ config, text: mergeDefinition(live.storedText(name), config, speaksOfKillSwitch) }));
  }

  /** Changes some fields, as RFC 7396 has it; null removes one. */
  async patch(name: string, patch: string, change: FlagWrite): Promise<Outcome> {
    const { live } = this.#options;
    const merged = (): { config: FlagConfig; text: string } => {
      const decoded = decodeDefinition(live.storedText(name) ?? this.get(name).text);
      const stored = 'value' in decoded ? decoded.value.body : (JSON.parse(this.get(name).text) as Record<string, unknown>);
      const body = JSON.stringify(mergePatch(stored, readObject(patch)));
      const { config } = readDefinition(name, body);
      return { config, text: JSON.stringify({ ...(JSON.parse(body) as object), ...config }) };
    };
    this.#options.writer.assertWritable();
    this.get(name);
    const { config, text } = merged();
    checkAmongOthers(name, config, live);
    return proved(this.#write(name, { action: 'patch', ...change }, config, text, merged));
  }

  async delete(name: string, change: FlagWrite): Promise<Outcome> {
    const { live, writer, rules, approvals } = this.#options;
    writer.assertWritable();
    const flag = this.get(name);
    assertNotRequired(name, live.flags);
    rules.assertReason(change);
    if (!change.approved && rules.isProduction) {
      assertAt(name, flag, change);
      return { pending: await approvals.ask({ ...change, action: 'delete', flag: name, after: '', revision: flag.revision, why: 'A deletion in production needs a second person.' }) };
    }
    const startedAt = performance.now();
    const written = await writer.delete(name, () => {
      assertNotRequired(name, live.flags);
      return { name, base: live.storedText(name) ?? '', ifRevision: change.ifRevision, dependsOn: change.dependsOn, actor: change.actor, reason: change.reason, atMs: Date.now() };
    });
    return { flag: undefined, proof: await writer.prove('delete', written.state.revision, startedAt, { name, ...change }) };
  }

  async decisions(name: string): Promise<DecisionTotals> {
    this.get(name);
    const stored = await this.#options.store.decisions(name);
    const waiting = this.#options.counter.waitingOf(name);
    return { enabled: stored.enabled + waiting.enabled, disabled: stored.disabled + waiting.disabled };
  }

  async #write(name: string, change: FlagWrite, config: FlagConfig, asked: string, now: () => { config: FlagConfig; text: string }): Promise<Begun> {
    const { live, writer, rules, approvals } = this.#options;
    const former = live.get(name);
    rules.assertReason(change);
    const why = change.approved ? undefined : rules.whyApproval(former?.config, config);
    if (why !== undefined) {
      assertAt(name, former, change);
      return { pending: await approvals.ask({ ...change, action: 'set', flag: name, after: asked, revision: former?.revision ?? 0n, why }) };
    }
    const startedAt = performance.now();
    const { actor, reason, ifRevision, dependsOn, action = 'set' } = change;
    const written = await writer.write(name, () => {
      const { config: current, text } = now();
      checkAmongOthers(name, current, live);
      // Somebody has changed the flag meanwhile, and on top of that it is a larger step.
      if (!change.approved && rules.whyApproval(live.get(name)?.config, current) !== undefined) throw errors.WRITE_CONTENDED({ name });
      return { name, text, base: live.storedText(name), ifRevision, dependsOn, actor, reason, action, atMs: Date.now() };
    });
    const proof = writer.prove('set', written.state.revision, startedAt, { name, actor, reason });
    return { flag: live.get(name), proof };
  }
}

/** @throws REVISION_MISMATCH when a flag is not at the revision that the change names; 0 names one that is not there */
export function assertAt(name: string, flag: LiveFlag | undefined, { ifRevision }: Pick<FlagWrite, 'ifRevision'>): void {
  const actual = flag?.revision ?? 0n;
  if (ifRevision !== undefined && ifRevision !== actual) throw errors.REVISION_MISMATCH({ name, actual: String(actual) });
}

function readObject(text: string): Record<string, unknown> {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw errors.FLAG_INVALID({ problem: 'The patch is not a JSON object.' }, { param: 'patch_json' });
}
