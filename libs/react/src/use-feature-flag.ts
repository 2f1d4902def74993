import { useEffect, useState } from 'react';

export interface FeatureFlagOptions {
  /** Where the gateway is. Default: the origin of the page. */
  readonly baseUrl?: string;
  /** Who asks; without it the gateway takes the header `x-user-id`. */
  readonly user?: string;
}

/**
 * Whether a flag is on for the user, as the gateway's `GET /api/flags/{name}` says (SPEC F20). Off until the answer has come,
 * and when there is none: the browser learns nothing but the answer.
 */
export function useFeatureFlag(name: string, { baseUrl = '', user }: FeatureFlagOptions = {}): boolean {
  const [answer, setAnswer] = useState({ name, enabled: false });
  useEffect(() => {
    const abort = new AbortController();
    const query = user === undefined ? '' : `?user=${encodeURIComponent(user)}`;
    askGateway(`${baseUrl}/api/flags/${encodeURIComponent(name)}${query}`, abort.signal).then(
      (enabled) => setAnswer({ name, enabled }),
      () => {
        // A component that is gone, or asks for another flag by now, wants no answer.
        if (!abort.signal.aborted) setAnswer({ name, enabled: false });
      },
    );
    return () => abort.abort();
  }, [name, baseUrl, user]);
  return answer.name === name && answer.enabled;
}

async function askGateway(url: string, signal: AbortSignal): Promise<boolean> {
  const response = await fetch(url, { signal });
  const body = (await response.json()) as { enabled?: unknown };
  return response.ok && body.enabled === true;
}
