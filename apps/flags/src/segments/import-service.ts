import { z } from 'zod';
import { parentOf, referencesOf } from '@mlx-serving/policy';
import { ServiceError } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import { checkAmongOthers, readDefinition } from '../flags/check-definition.ts';
import type { Change, Proof } from '../flags/flag-change.ts';
import type { FlagsService } from '../flags/flags-service.ts';
import { mergeDefinition } from '../snapshot/decode-definition.ts';
import type { LiveFlag, LiveFlags } from '../snapshot/live-flags.ts';
import { readSegment, type SegmentsService } from './segments-service.ts';

const definitions = z.record(z.string(), z.looseObject({})).default({});
const document = z.strictObject({ flags: definitions, segments: definitions });

export interface ImportResult {
  readonly name: string;
  readonly outcome: 'created' | 'updated' | 'unchanged' | 'pending' | 'failed';
  readonly problem: string;
}

/**
 * Writes what was exported, each flag as its own audited change: segments first, and what is required before what requires it.
 * The gateways are waited for once, for all changes together. No kill is cleared.
 */
export class ImportService {
  readonly #live: LiveFlags;
  readonly #flags: FlagsService;
  readonly #segments: SegmentsService;

  constructor(live: LiveFlags, flags: FlagsService, segments: SegmentsService) {
    this.#live = live;
    this.#flags = flags;
    this.#segments = segments;
  }

  async run(text: string, change: Change, dryRun: boolean): Promise<ImportResult[]> {
    const { flags, segments } = readDocument(text);
    const ordered = inOrder(flags);
    // What is checked sees the whole document, whatever comes first.
    const known = this.#withImported(flags, segments);
    const results: ImportResult[] = [];
    const proofs: Promise<Proof>[] = [];
    const write: Writing = { change, dryRun, proofs };
    for (const [name, body] of Object.entries(segments)) results.push(await attempt(`segment:${name}`, () => this.#segment(name, JSON.stringify(body), write)));
    for (const name of ordered) results.push(await attempt(name, () => this.#flag(name, JSON.stringify(flags[name]), write, known)));
    await Promise.all(proofs);
    return results;
  }

  async #segment(name: string, definition: string, { change, dryRun, proofs }: Writing): Promise<ImportResult['outcome']> {
    const former = this.#live.segments.find((segment) => segment.name === name);
    if (former?.text === readSegment(name, definition)) return 'unchanged';
    if (!dryRun) proofs.push((await this.#segments.begin(name, definition, change)).proof);
    return former ? 'updated' : 'created';
  }

  async #flag(name: string, definition: string, { change, dryRun, proofs }: Writing, known: Pick<LiveFlags, 'flags' | 'segments'>): Promise<ImportResult['outcome']> {
    const former = this.#live.storedText(name);
    const { config, speaksOfKillSwitch } = readDefinition(name, definition);
    if (former === mergeDefinition(former, config, speaksOfKillSwitch)) return 'unchanged';
    if (dryRun) checkAmongOthers(name, config, known);
    else {
      const begun = await this.#flags.begin(name, definition, { ...change, action: 'import' });
      if ('pending' in begun) return 'pending';
      proofs.push(begun.proof);
    }
    return former === undefined ? 'created' : 'updated';
  }

  #withImported(flags: Record<string, unknown>, segments: Record<string, unknown>): Pick<LiveFlags, 'flags' | 'segments'> {
    const all = new Map(this.#live.flags.map((flag) => [flag.name, flag]));
    for (const [name, body] of Object.entries(flags)) {
      try {
        const { config } = readDefinition(name, JSON.stringify(body));
        all.set(name, { name, config, text: '', revision: 0n, kill: undefined } satisfies LiveFlag);
      } catch {
        // Its own result says what is wrong with it.
      }
    }
    return { flags: [...all.values()], segments: [...this.#live.segments, ...Object.keys(segments).map((name) => ({ name, text: '', revision: 0n }))] };
  }
}

/** How a document is written; `proofs` takes what is to be waited for. */
interface Writing {
  readonly change: Change;
  readonly dryRun: boolean;
  readonly proofs: Promise<Proof>[];
}

async function attempt(name: string, work: () => Promise<ImportResult['outcome']>): Promise<ImportResult> {
  try {
    return { name, outcome: await work(), problem: '' };
  } catch (thrown) {
    return { name, outcome: 'failed', problem: ServiceError.from(thrown).message };
  }
}

function readDocument(text: string): z.output<typeof document> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw errors.DOCUMENT_INVALID({ problem: 'The document is not JSON.' });
  }
  const parsed = document.safeParse(value);
  if (parsed.success) return parsed.data;
  throw errors.DOCUMENT_INVALID({ problem: parsed.error.issues.map((issue) => `${issue.path.join('.') || 'The document'}: ${issue.message}`).join('; ') });
}

/** Names, each after those that it requires. */
function inOrder(flags: Record<string, unknown>): string[] {
  const done = new Set<string>();
  const add = (name: string, trail: ReadonlySet<string>): void => {
    if (done.has(name) || trail.has(name) || !(name in flags)) return;
    const further = new Set([...trail, name]);
    for (const other of [parentOf(name), ...requirementsOf(name, flags[name])]) if (other !== undefined) add(other, further);
    done.add(name);
  };
  for (const name of Object.keys(flags)) add(name, new Set());
  return [...done];
}

function requirementsOf(name: string, body: unknown): string[] {
  try {
    return referencesOf(readDefinition(name, JSON.stringify(body)).config).requires;
  } catch {
    return [];
  }
}
