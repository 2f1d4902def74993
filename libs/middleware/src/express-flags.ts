import { type FlagSource, type RequestFlags, requestFlags, type RequestFlagsOptions } from './request-flags.ts';

/** A request of Express, or of anything else that calls `(request, response, next)`. */
export interface FlaggedRequest {
  featureFlags?: RequestFlags;
}

/** Middleware for Express: gives each request `req.featureFlags.isEnabled(name)` (SPEC F21). */
export function expressFlags<Request extends object>(flags: FlagSource, options: RequestFlagsOptions<Request> = {}) {
  return (request: Request, _response: unknown, next: () => void): void => {
    (request as FlaggedRequest).featureFlags = requestFlags(flags, request, options);
    next();
  };
}
