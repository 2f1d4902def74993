import type { Decision } from '@mlx-serving/contracts';

type Flags = Pick<Decision, 'enabledFlags' | 'flagReasons'>;

/**
 * What is written of a decision's flags. Most decisions share theirs, in lists that nobody can change, so it is written
 * once for all of them.
 */
export class WrittenFlags<Written> {
  readonly #write: (flags: Flags) => Written;
  readonly #known = new WeakMap<Decision['flagReasons'], { readonly enabled: readonly string[]; readonly written: Written }>();

  constructor(write: (flags: Flags) => Written) {
    this.#write = write;
  }

  of(flags: Flags): Written {
    const { enabledFlags, flagReasons } = flags;
    const known = this.#known.get(flagReasons);
    if (known?.enabled === enabledFlags) return known.written;
    const written = this.#write(flags);
    if (Object.isFrozen(flagReasons) && Object.isFrozen(enabledFlags)) this.#known.set(flagReasons, { enabled: enabledFlags, written });
    return written;
  }
}
