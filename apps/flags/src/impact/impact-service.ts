import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { FlagsLinkResponseSchema, type ImpactAnswer } from '@mlx-serving/contracts';
import type { FlagReplicas } from '../link/link-handler.ts';
import type { FlagWriter } from '../flags/flag-writer.ts';
import { checkAmongOthers, readDefinition } from '../flags/check-definition.ts';
import { mergeDefinition } from '../snapshot/decode-definition.ts';
import type { LiveFlags } from '../snapshot/live-flags.ts';

const ANSWERS_WITHIN_MS = 2_000;

export interface Impact {
  contexts: bigint;
  turnedOn: bigint;
  turnedOff: bigint;
  onAfter: bigint;
}

export interface Preview {
  readonly impact: Impact;
  /** Ids of the gateways linked here that answered, and of those that did not in time. */
  readonly answered: string[];
  readonly missing: string[];
}

interface Question {
  readonly impact: Impact;
  readonly waiting: Set<string>;
  readonly answered: Set<string>;
  readonly done: () => void;
}

/**
 * Asks the linked gateways what a draft would change for the contexts that they have seen lately. The contexts stay in
 * the gateways' memory: only counts come back.
 */
export class ImpactService {
  readonly #live: LiveFlags;
  readonly #replicas: FlagReplicas;
  readonly #writer: FlagWriter;
  readonly #questions = new Map<string, Question>();

  constructor(live: LiveFlags, replicas: FlagReplicas, writer: FlagWriter) {
    this.#live = live;
    this.#replicas = replicas;
    this.#writer = writer;
  }

  async preview(name: string, definition: string): Promise<Preview> {
    this.#writer.assertLoaded();
    const { config, speaksOfKillSwitch } = readDefinition(name, definition);
    checkAmongOthers(name, config, this.#live);
    const definitionJson = mergeDefinition(this.#live.storedText(name), config, speaksOfKillSwitch);
    const id = randomUUID();
    const waiting = new Set(this.#replicas.ids);
    const answered = new Set<string>();
    const impact: Impact = { contexts: 0n, turnedOn: 0n, turnedOff: 0n, onAfter: 0n };
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ANSWERS_WITHIN_MS);
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      this.#questions.set(id, { impact, waiting, answered, done });
      if (waiting.size === 0) return done();
      this.#replicas.broadcast(create(FlagsLinkResponseSchema, { message: { case: 'impactQuestion', value: { id, flag: name, definitionJson } } }));
    });
    this.#questions.delete(id);
    return { impact, answered: [...answered].sort(), missing: [...waiting].sort() };
  }

  /** Takes what a gateway has counted. */
  answer(replicaId: string, { id, impact }: ImpactAnswer): void {
    const question = this.#questions.get(id);
    if (!question?.waiting.delete(replicaId)) return;
    question.answered.add(replicaId);
    for (const key of ['contexts', 'turnedOn', 'turnedOff', 'onAfter'] as const) question.impact[key] += impact?.[key] ?? 0n;
    if (question.waiting.size === 0) question.done();
  }
}
