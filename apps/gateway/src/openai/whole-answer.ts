import type { ServerResponse } from 'node:http';
import type { Token } from '@mlx-serving/contracts';
import type { ServiceError } from '@mlx-serving/service-kit';
import type { GenerationResult, GenerationSink } from '../generation/generation-types.ts';
import type { WholeChoice } from './answer-format.ts';
import type { AnswerPlan } from './answer-plan.ts';
import { usageOf } from './answer-usage.ts';
import { decisionHeaders, QUEUE_POSITION_HEADER } from './decision-headers.ts';

interface Collected {
  readonly parts: string[];
  readonly tokens: Token[];
  result: GenerationResult | undefined;
}

/** Writes the answers to one request as one JSON object. */
export class WholeAnswer {
  readonly #response: ServerResponse;
  readonly #plan: AnswerPlan;
  readonly #choices: readonly Collected[];
  #model = '';

  constructor(response: ServerResponse, plan: AnswerPlan) {
    this.#response = response;
    this.#plan = plan;
    this.#choices = plan.choices.map(() => ({ parts: [], tokens: [], result: undefined }));
  }

  sink(choice: number): GenerationSink {
    const collected = this.#choices[choice]!;
    const keepsTokens = this.#plan.choices[choice]?.sampling.topLogprobs !== undefined;
    return {
      decided: (decision) => {
        if (choice !== 0) return;
        for (const [name, value] of Object.entries(decisionHeaders(decision))) this.#response.setHeader(name, value);
      },
      queued: (position) => {
        if (choice === 0) this.#response.setHeader(QUEUE_POSITION_HEADER, position());
      },
      tokens: (tokens) => {
        for (const token of tokens) {
          collected.parts.push(token.text);
          if (keepsTokens) collected.tokens.push(token);
        }
      },
      finished: (result, model) => {
        collected.result = result;
        this.#model = model;
      },
    };
  }

  finish(): void {
    const { format, choicesPerPrompt, best } = this.#plan;
    const choices = this.#choices.flatMap(({ parts, tokens, result }) => (result ? [{ text: parts.join(''), tokens, result }] : []));
    const kept = best === undefined ? choices : grouped(choices, choicesPerPrompt).flatMap((group) => theBest(group, best));
    const usage = usageOf(this.#choices.map(({ result }) => result), choicesPerPrompt);
    const body = format.whole(this.#model, kept, usage);
    this.#response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body);
  }

  /** Nothing was sent before the end, so nothing can fail behind the head. */
  failed(_error: ServiceError): void {
    this.#response.destroy();
  }

  release(): void {
    for (const { parts, tokens } of this.#choices) parts.length = tokens.length = 0;
  }
}

function grouped<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, group) => all.slice(group * size, (group + 1) * size));
}

function theBest(choices: readonly WholeChoice[], count: number): WholeChoice[] {
  const score = ({ tokens }: WholeChoice): number => tokens.reduce((sum, { logprob }) => sum + (logprob ?? 0), 0) / Math.max(1, tokens.length);
  return [...choices].sort((a, b) => score(b) - score(a)).slice(0, count);
}
