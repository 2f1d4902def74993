import type { EvaluationContext, FlagAnswer } from '@mlx-serving/evaluation';

/** Whatever can evaluate a flag in memory: a `FeatureFlagLoader`, or a `FlagSet`. */
export interface FlagSource {
  evaluate(name: string, context: EvaluationContext): FlagAnswer;
}

/** What a request has as `featureFlags`. */
export interface RequestFlags {
  /** Whether a flag is on for the one who asks. */
  isEnabled(name: string): boolean;
  /** Name of the variant that the one who asks has; undefined for a flag that is off or has none. */
  variant(name: string): string | undefined;
}

export interface RequestFlagsOptions<Request> {
  /** Who asks. Default: the `id` of `request.user` as key, and its other fields as attributes. */
  readonly context?: (request: Request) => EvaluationContext;
}

/** The flags of one request. Who asks is read when the first flag is, so that what signs users in may run in between. */
export function requestFlags<Request>(flags: FlagSource, request: Request, { context = userOf }: RequestFlagsOptions<Request>): RequestFlags {
  let asked: EvaluationContext | undefined;
  const who = (): EvaluationContext => (asked ??= context(request));
  return {
    isEnabled: (name) => flags.evaluate(name, who()).enabled,
    variant: (name) => flags.evaluate(name, who()).variant,
  };
}

function userOf(request: unknown): EvaluationContext {
  const user = (request as { user?: { id?: unknown } } | null)?.user;
  if (typeof user !== 'object' || user === null) return {};
  const { id, ...attributes } = user;
  return { key: typeof id === 'string' || typeof id === 'number' ? String(id) : undefined, attributes };
}
