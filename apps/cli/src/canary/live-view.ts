import type { CommandContext } from '../command.ts';

/** What is shown again and again: on a terminal each time in the place of the last one, else one below the other. */
export class LiveView {
  readonly #context: Pick<CommandContext, 'write' | 'isTerminal'>;
  #lines = 0;

  constructor(context: Pick<CommandContext, 'write' | 'isTerminal'>) {
    this.#context = context;
  }

  show(text: string): void {
    const { write, isTerminal } = this.#context;
    const back = isTerminal && this.#lines > 0 ? `\u001b[${this.#lines}A\u001b[0J` : '';
    write(`${back}${text}`);
    this.#lines = text.split('\n').length;
  }
}
