import type { FlagsLinkResponse } from '@mlx-serving/contracts';
import type { FeatureFlagsFile } from '@mlx-serving/policy';
import type { FlagReplicas } from '../link/link-handler.ts';
import type { MetricNames } from '../metrics.ts';
import { observabilityDirective } from '../snapshot/flag-messages.ts';

/** `observability` of the file: it names the metrics here, and goes to every gateway. */
export class SharedObservability {
  readonly #names: MetricNames;
  readonly #replicas: Pick<FlagReplicas, 'broadcast'>;
  #directive: FlagsLinkResponse | undefined;

  constructor(names: MetricNames, replicas: Pick<FlagReplicas, 'broadcast'>) {
    this.#names = names;
    this.#replicas = replicas;
  }

  /** For a gateway that links; undefined before the file was read. */
  get directive(): FlagsLinkResponse | undefined {
    return this.#directive;
  }

  use(settings: FeatureFlagsFile['observability']): void {
    this.#names.use(settings);
    this.#directive = observabilityDirective(settings);
    this.#replicas.broadcast(this.#directive);
  }
}
