import type { Worker } from 'node:cluster';
import type { ProcessState } from './process-messages.ts';

/** A process that says nothing for so long is left out. */
const ANSWER_LIMIT_MS = 2_000;

interface Open {
  readonly waiting: Set<Worker>;
  readonly answers: ProcessState[];
  readonly done: () => void;
}

/** Asks processes to show themselves, and waits for all who are alive. */
export class ProcessQuestions {
  readonly #open = new Map<number, Open>();
  #last = 0;

  /** @returns what those said who answered in time */
  async ask(workers: readonly Worker[]): Promise<readonly ProcessState[]> {
    const asked = workers.filter((worker) => worker.isConnected());
    const question = ++this.#last;
    const answers: ProcessState[] = [];
    if (asked.length === 0) return answers;
    await new Promise<void>((done) => {
      const timer = setTimeout(done, ANSWER_LIMIT_MS);
      const open = { waiting: new Set(asked), answers, done: () => (clearTimeout(timer), done()) };
      this.#open.set(question, open);
      for (const worker of asked) worker.send({ kind: 'show', question });
    });
    this.#open.delete(question);
    return answers;
  }

  answer(worker: Worker, question: number, state: ProcessState): void {
    const open = this.#open.get(question);
    if (!open?.waiting.delete(worker)) return;
    open.answers.push(state);
    if (open.waiting.size === 0) open.done();
  }

  /** It is gone, so nobody waits for it. */
  forget(worker: Worker): void {
    for (const open of this.#open.values()) if (open.waiting.delete(worker) && open.waiting.size === 0) open.done();
  }
}
