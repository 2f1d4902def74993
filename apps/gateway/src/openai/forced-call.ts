import { randomUUID } from 'node:crypto';

/** A tool as OpenAI's chat endpoint takes it. */
export interface ToolDefinition {
  readonly name: string;
  readonly parameters?: Readonly<Record<string, unknown>> | undefined;
}

/** A call that the model must make: its answer is held to a schema, so that the text is the call. */
export interface ForcedCall {
  /** The function that is called; undefined when the model chooses among several. */
  readonly name: string | undefined;
  readonly jsonSchema: string;
  /** OpenAI ends an answer with `stop` when the caller has named the function. */
  readonly finishReason: 'stop' | 'tool_calls';
}

/** The call of one function, named by the caller. */
export function namedCall(tool: ToolDefinition): ForcedCall {
  return { name: tool.name, jsonSchema: JSON.stringify(parametersOf(tool)), finishReason: 'stop' };
}

/** The call of any of some functions. */
export function anyCall(tools: readonly ToolDefinition[]): ForcedCall {
  const [only] = tools;
  if (only && tools.length === 1) return { ...namedCall(only), finishReason: 'tool_calls' };
  const anyOf = tools.map((tool) => ({
    type: 'object',
    properties: { name: { const: tool.name }, arguments: parametersOf(tool) },
    required: ['name', 'arguments'],
    additionalProperties: false,
  }));
  return { name: undefined, jsonSchema: JSON.stringify({ anyOf }), finishReason: 'tool_calls' };
}

function parametersOf({ parameters }: ToolDefinition): Record<string, unknown> {
  return parameters && Object.keys(parameters).length > 0 ? { type: 'object', ...parameters } : { type: 'object', additionalProperties: false };
}

/** Where the arguments begin in the text of a call whose function the model has chosen. */
const BEGINNING = /^\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"\s*,\s*"arguments"\s*:\s*/;

/** Reads the text of a forced call as it comes: first the function's name, then its arguments bit by bit. */
export class ForcedCallReader {
  readonly id = `call_${randomUUID().replaceAll('-', '').slice(0, 24)}`;
  readonly #enclosed: boolean;
  #name: string | undefined;
  #held = '';

  constructor({ name }: ForcedCall) {
    this.#name = name;
    this.#enclosed = name === undefined;
  }

  /** Known from the first arguments on. */
  get name(): string | undefined {
    return this.#name;
  }

  /** @returns what may be shown of the arguments */
  add(text: string): string {
    if (!this.#enclosed) return text;
    this.#held += text;
    if (this.#name === undefined && !this.#readName()) return '';
    // The last brace belongs to the call and not to its arguments.
    const shown = this.#held.slice(0, -1);
    this.#held = this.#held.slice(-1);
    return shown;
  }

  /** @param complete false when the answer was cut: then nothing closes the call */
  finish(complete: boolean): string {
    if (!this.#enclosed || complete || this.#name === undefined) return '';
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  #readName(): boolean {
    const beginning = BEGINNING.exec(this.#held);
    if (!beginning) return false;
    this.#name = JSON.parse(`"${beginning[1]}"`) as string;
    this.#held = this.#held.slice(beginning[0].length);
    return true;
  }
}
