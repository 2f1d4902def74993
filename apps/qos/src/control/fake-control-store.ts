import type { ControlStore, KeptBudgets, KeptControl } from './control-store.ts';

/** The store in memory, which tests can take away. Its lease ends when the test says so. */
export class FakeControlStore implements ControlStore {
  reachable = true;
  holder: { name: string; term: number } | undefined;
  #term = 0;
  #text: string | undefined;
  #budgets = '{}';

  async load(): Promise<KeptControl | undefined> {
    this.#reach();
    return this.#text === undefined ? undefined : (JSON.parse(this.#text) as KeptControl);
  }

  async acquire(holder: string, _ttlMs: number, anew: boolean): Promise<number | undefined> {
    this.#reach();
    if (this.holder && this.holder.name !== holder) return undefined;
    if (!this.holder || anew) this.holder = { name: holder, term: ++this.#term };
    return this.holder.term;
  }

  async commit(holder: string, term: number, kept: KeptControl): Promise<boolean> {
    this.#reach();
    if (this.holder?.name !== holder || this.holder.term !== term) return false;
    this.#text = JSON.stringify(kept);
    return true;
  }

  async loadBudgets(): Promise<KeptBudgets> {
    this.#reach();
    return JSON.parse(this.#budgets) as KeptBudgets;
  }

  async commitBudgets(holder: string, term: number, kept: KeptBudgets): Promise<boolean> {
    this.#reach();
    if (this.holder?.name !== holder || this.holder.term !== term) return false;
    this.#budgets = JSON.stringify(kept);
    return true;
  }

  async release(holder: string, term: number): Promise<void> {
    if (this.holder?.name === holder && this.holder.term === term) this.holder = undefined;
  }

  #reach(): void {
    if (!this.reachable) throw new Error('the store is away');
  }
}
