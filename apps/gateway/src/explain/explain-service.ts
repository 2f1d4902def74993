import { createHash, timingSafeEqual } from 'node:crypto';
import { toJson } from '@bufbuild/protobuf';
import { DecisionSchema, type Flags, type ServiceClient } from '@mlx-serving/contracts';
import type { Variant } from '@mlx-serving/policy';
import { readFileIfPresent, sendJson, ServiceError } from '@mlx-serving/service-kit';
import { attributesOf, decide } from '../decision/decide.ts';
import type { FlagSnapshotStore } from '../decision/flag-snapshot-store.ts';
import type { RoutingStore } from '../decision/routing-store.ts';
import { errors } from '../errors.ts';
import type { GenerationRequest } from '../generation/generation-types.ts';
import type { HttpContext } from '../http/http-context.ts';
import type { WorkerPool } from '../workers/worker-pool.ts';

export interface ExplainServiceOptions {
  readonly flags: FlagSnapshotStore;
  readonly routing: RoutingStore;
  readonly pools: Record<Variant, WorkerPool>;
  /** Holds the root token of the admin interface, where it is on the same machine. */
  readonly tokenFile: string;
  readonly client: Pick<ServiceClient<typeof Flags>, 'authenticateToken'>;
}

const OPERATORS = ['operator', 'admin'];

/** Says, instead of an answer, what would be decided for a request and why. For operators: it shows every flag. */
export class ExplainService {
  readonly #options: ExplainServiceOptions;

  constructor(options: ExplainServiceOptions) {
    this.#options = options;
  }

  wants({ request: { headers } }: Pick<HttpContext, 'request'>): boolean {
    return headers['x-mlx-serving-explain'] === '1';
  }

  /** @throws OPERATOR_ONLY */
  async answer({ request: { headers }, response }: Pick<HttpContext, 'request' | 'response'>, request: GenerationRequest): Promise<void> {
    if (!(await this.#isOperator([headers['x-mlx-serving-operator-token']].flat()[0]))) throw errors.OPERATOR_ONLY();
    const { flags, routing, pools } = this.#options;
    const state = { table: routing.table, canaryAvailable: pools.canary.serving.length > 0, leaseEnded: routing.leaseEnded, places: routing.places };
    const decision = decide(flags.state, state, { ...request, draw: Math.random() });
    const context = { key: request.routingKey ?? request.user ?? request.requestId, attributes: attributesOf(request) };
    const steps = Object.fromEntries(flags.state.flags.names.map((name) => [name, flags.state.flags.explain(name, context)]));
    sendJson(response, 200, { decision: toJson(DecisionSchema, decision), flags: steps });
  }

  async #isOperator(token: string | undefined): Promise<boolean> {
    if (token === undefined || token === '') return false;
    const root = await readFileIfPresent(this.#options.tokenFile).catch(() => undefined);
    if (root && isSame(token, Buffer.from(root).toString('utf8').trim())) return true;
    try {
      const secretHash = createHash('sha256').update(token).digest('hex');
      const { token: known } = await this.#options.client.authenticateToken({ secretHash });
      return OPERATORS.includes(known?.role ?? '');
    } catch (thrown) {
      if (ServiceError.from(thrown).code === 'NOT_FOUND') return false;
      throw thrown;
    }
  }
}

/** Compares in a time that says nothing about where the two differ. */
function isSame(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
